"""A language model behind any OpenAI-compatible address.

Its input is untrusted, so its output is too: it has a schema, is validated, and is never clamped. An unusable
answer is an abstention. Firm rules are a floor under its risk, and content that tries to steer its reader is
never approved on its word.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import openai
from opentelemetry import trace
from pydantic import BaseModel, ConfigDict, ValidationError

from placet_decision.domain import (
    REASONING_LIMIT,
    AiDecision,
    Assessment,
    Case,
    Mode,
    Provenance,
    Result,
    Verdict,
    is_score,
    no_assessment,
    no_decision,
    presentable,
    raise_to_floor,
    withhold_approval,
)
from placet_decision.providers import prompts
from placet_decision.providers.detectors import is_legible
from placet_decision.providers.embedded import EmbeddedProvider
from placet_decision.providers.http_client import OversizedAnswer, http_client
from placet_rpc.errors import Unavailable
from placet_text import says_nothing

_LOG = logging.getLogger(__name__)
_TRACER = trace.get_tracer(__name__)

# The provider refuses this input, so the same call again cannot succeed.
_ABOUT_THE_INPUT = frozenset({413})
_CODES_ABOUT_THE_INPUT = frozenset({"context_length_exceeded", "content_filter", "content_policy_violation"})


class RiskAnswer(BaseModel):
    """The schema of an answer to `prompts.assess`. Ranges are checked after decoding, which ignores them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    result: Literal["assessed", "abstained"]
    risk: float
    confidence: float
    reasoning: str


class VerdictAnswer(BaseModel):
    """The schema of an answer to `prompts.decide`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verdict: Literal["approve", "reject", "abstain"]
    confidence: float
    reasoning: str


_Answer = TypeVar("_Answer", RiskAnswer, VerdictAnswer)

_ASSESS = prompts.assess(RiskAnswer)
_DECIDE = prompts.decide(VerdictAnswer)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """The fields of a chat completion that are used. `model` is the server's claim.

    Read by this schema and not by the SDK's `parse`, which does not validate it: see decision 022.
    """

    choices: list[_Choice]
    model: str | None = None


class UnusableAnswer(Exception):
    """The model's answer cannot be used. Its text says why, for people."""


class OpenAiProvider:
    """Deep assessments and decisions by a model; quick assessments by rules."""

    name = "openai"
    deep_available = True

    def __init__(
        self,
        *,
        api_key: Callable[[], str],
        base_url: str | None,
        model: str,
        timeout: float,
        max_input_characters: int,
        max_output_tokens: int,
    ) -> None:
        """`api_key` is called for every request. `base_url` None: OpenAI's own. `timeout`: seconds for a call
        of the model, at most."""

        async def current_key() -> str:
            return api_key()

        self._client = openai.AsyncOpenAI(
            api_key=current_key,
            base_url=base_url,
            # Temporal retries.
            max_retries=0,
            http_client=http_client(),
        )
        self._model = model
        self._timeout = timeout
        self._max_input_characters = max_input_characters
        self._max_output_tokens = max_output_tokens
        self._embedded = EmbeddedProvider()

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """Quick: by rules. Deep: by the model, never below the risk by firm rules."""
        if mode is Mode.QUICK:
            return await self._embedded.assess(case, mode, budget)
        scored = await self._embedded.score(case.document)
        try:
            self._check_input(case)
            answer, provenance = await self._ask(_ASSESS, RiskAnswer, case, budget)
        except UnusableAnswer as unusable:
            return no_assessment(Mode.DEEP, str(unusable), self._provenance(_ASSESS, case))
        if answer.result == "abstained":
            return no_assessment(Mode.DEEP, f"The model abstained: {answer.reasoning}", provenance)
        if not (is_score(answer.risk) and is_score(answer.confidence)):
            return no_assessment(Mode.DEEP, "The model's numbers do not lie between 0 and 1.", provenance)
        assessment = Assessment(
            Result.DECIDED,
            Mode.DEEP,
            answer.risk,
            answer.confidence,
            presentable(answer.reasoning, REASONING_LIMIT),
            provenance,
        )
        return raise_to_floor(assessment, scored.floor, scored.firm)

    async def decide(self, case: Case, budget: float) -> AiDecision:
        """Decides by the model; never approves content that tries to steer or deceive its reader."""
        scored = await self._embedded.score(case.document)
        try:
            self._check_input(case)
            answer, provenance = await self._ask(_DECIDE, VerdictAnswer, case, budget)
        except UnusableAnswer as unusable:
            return no_decision(str(unusable), self._provenance(_DECIDE, case))
        if answer.verdict == "abstain":
            return no_decision(f"The model abstained: {answer.reasoning}", provenance)
        if not is_score(answer.confidence):
            return no_decision("The model's confidence does not lie between 0 and 1.", provenance)
        decision = AiDecision(
            Result.DECIDED,
            Verdict(answer.verdict),
            answer.confidence,
            presentable(answer.reasoning, REASONING_LIMIT),
            provenance,
        )
        return withhold_approval(decision, scored.tampering)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _check_input(self, case: Case) -> None:
        if not is_legible(case.document.text):
            raise UnusableAnswer("The content holds no text that a model can read.")
        if len(case.document.text) > self._max_input_characters:
            # A decision on the beginning alone would approve the rest unread.
            raise UnusableAnswer(
                f"The text is longer than the {self._max_input_characters} characters that are read whole."
            )

    async def _ask(
        self, prompt: prompts.Prompt, schema: type[_Answer], case: Case, budget: float
    ) -> tuple[_Answer, Provenance]:
        """The model's answer. Raises UnusableAnswer, or Unavailable when there is none."""
        seconds = min(budget, self._timeout)
        messages = prompt.messages(case)
        with self._span() as span, _errors_mapped(seconds):
            # The SDK's timeout is for each read; a model that drips would outlast it.
            async with asyncio.timeout(seconds):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self._model,
                    messages=[
                        {"role": "system", "content": messages.system},
                        {"role": "user", "content": messages.user},
                    ],
                    response_format=prompt.response_format,
                    max_completion_tokens=self._max_output_tokens,
                    timeout=max(seconds, 0.0),
                )
            completion = Completion.model_validate_json(response.content)
            answer = _parsed(completion, schema)
            answered_by = presentable(completion.model or "", 100)
            span.set_attribute("gen_ai.response.model", answered_by)
            return answer, self._provenance(prompt, case, answered_by)

    def _provenance(self, prompt: prompts.Prompt, case: Case, answered_by: str = "") -> Provenance:
        # The server's own name is a claim: it stands beside the configured one, not in its place.
        model = self._model if answered_by in ("", self._model) else f"{self._model} ({answered_by})"
        return Provenance(self.name, model, prompt.digest(self._embedded.rules.digest), case.digest())

    @contextmanager
    def _span(self) -> Iterator[trace.Span]:
        """A client span by OpenTelemetry's GenAI conventions, without content."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": self._model,
            "server.address": self._client.base_url.host,
        }
        with _TRACER.start_as_current_span(
            f"chat {self._model}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            # An exception's text may quote the answer, and so the content.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except (UnusableAnswer, Unavailable) as error:
                span.set_status(trace.StatusCode.ERROR)
                span.set_attribute("error.type", type(error).__name__)
                raise


def _parsed(completion: Completion, schema: type[_Answer]) -> _Answer:
    if not completion.choices:
        raise UnusableAnswer("The model gave no answer.")
    choice = completion.choices[0]
    if choice.finish_reason == "length":
        raise UnusableAnswer("The model's answer was cut off at the limit of its length.")
    if choice.finish_reason == "content_filter":
        raise UnusableAnswer("The model's provider filtered the answer.")
    if choice.message.refusal:
        raise UnusableAnswer("The model refused to answer.")
    if not choice.message.content:
        raise UnusableAnswer("The model's answer is empty.")
    answer = schema.model_validate_json(choice.message.content)
    if says_nothing(answer.reasoning):
        raise UnusableAnswer("The model gave no reason.")
    return answer


@contextmanager
def _errors_mapped(seconds: float) -> Iterator[None]:
    """Raises UnusableAnswer for a bad answer, Unavailable for none. No foreign text goes on: it may quote the
    key or the content."""
    try:
        yield
    except (TimeoutError, openai.APITimeoutError):
        raise _unavailable(f"the model did not answer within {seconds:.1f} s") from None
    except openai.APIStatusError as error:
        raise _by_status(error) from None
    except OversizedAnswer:
        raise UnusableAnswer("The model's answer is larger than an answer can be.") from None
    except ValidationError:
        _LOG.warning("the model's answer is malformed")
        raise UnusableAnswer("The model's answer is malformed.") from None
    except openai.OpenAIError as error:
        _LOG.warning("the model cannot be reached: %s", type(error.__cause__ or error).__name__)
        raise _unavailable("the model cannot be reached") from None


def _by_status(error: openai.APIStatusError) -> UnusableAnswer | Unavailable:
    status = error.status_code
    # The SDK takes the code as it comes: of any type.
    about_the_input = isinstance(error.code, str) and error.code in _CODES_ABOUT_THE_INPUT
    if status in _ABOUT_THE_INPUT or (status < 500 and about_the_input):
        return UnusableAnswer("The model's provider does not accept this content.")
    if 400 <= status < 500 and status not in (408, 409, 429):
        _LOG.error("the model's provider answers HTTP %d; check key, model and base URL", status)
    return _unavailable(f"the model's provider answered HTTP {status}")


def _unavailable(message: str) -> Unavailable:
    return Unavailable(message, reason="MODEL_UNAVAILABLE", metadata={"provider": OpenAiProvider.name})
