"""A language model behind any OpenAI-compatible address.

Its input is untrusted, so its output is too: it has a schema, is validated, and is never clamped. An unusable
answer is an abstention; a body that is no answer means that the model is unavailable. What holds whatever it
answers is the provider's: floor and withhold.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import openai
from opentelemetry import trace

from placet_decision.domain import (
    REASONING_LIMIT,
    AiDecision,
    Assessment,
    Case,
    Mode,
    Provenance,
    Result,
    Usage,
    Verdict,
    is_score,
    no_assessment,
    no_decision,
    presentable,
)
from placet_decision.providers import prompts
from placet_decision.providers.completions import (
    Answer,
    BrokenEnvelope,
    Completion,
    RiskAnswer,
    UnusableAnswer,
    VerdictAnswer,
    model_name,
    read_answer,
    read_completion,
    usage_of,
)
from placet_decision.providers.http_client import UnreadableBody, http_client
from placet_decision.providers.reader import Reading
from placet_decision.providers.rules import rule_set
from placet_decision.providers.throttle import LONGEST_RETRY_AFTER, Admission, Paused, Throttle, retry_after
from placet_decision.token_budget import TokenBudget
from placet_rpc.errors import Unavailable

_LOG = logging.getLogger(__name__)
_TRACER = trace.get_tracer(__name__)

# The provider refuses this input, so the same call again cannot succeed.
_ABOUT_THE_INPUT = frozenset({413})
# The server does not take this call; it may well take others.
_ABOUT_ONE_CALL = frozenset({400, 422})
# A timeout after less says nothing about the model.
_PATIENT_SECONDS = 10.0
# Longest wait of a call for its turn within the rate limit, in seconds.
_MOST_PATIENCE = 10.0
# Shorter keys are placeholders, which may be words of a sentence.
_SHORTEST_SECRET = 8
_CODES_ABOUT_THE_INPUT = frozenset({"context_length_exceeded", "content_filter", "content_policy_violation"})


_ASSESS = prompts.assess(RiskAnswer)
_DECIDE = prompts.decide(VerdictAnswer)


class _NoAnswer(Exception):
    """The model gave no answer. Its text says why, without foreign words.

    `fault`: it counts for the circuit breaker. `billed`: the model may have worked nevertheless.
    `retry_after`: seconds that the server asks for; 0: none.
    """

    def __init__(
        self, why: str, *, fault: bool = True, billed: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(why)
        self.fault = fault
        self.billed = billed
        self.retry_after = retry_after


class LlmScorer:
    """Deep assessments and decisions by a model."""

    name = "openai"
    part = "llm/1"

    def __init__(
        self,
        *,
        api_key: Callable[[], str],
        base_url: str | None,
        model: str,
        timeout: float,
        max_input_characters: int,
        max_output_tokens: int,
        throttle: Throttle,
        tokens: TokenBudget,
    ) -> None:
        """`api_key` is called for every request. `base_url` None: OpenAI's own. `timeout`: seconds for a call
        of the model, at most. `throttle`: that of this model."""
        self._api_key = api_key
        self._client = openai.AsyncOpenAI(
            # Each call brings its own.
            api_key="none",
            base_url=base_url,
            # Temporal retries.
            max_retries=0,
            http_client=http_client(),
        )
        self._model = model
        self._shown_model = model_name(model)
        self._timeout = timeout
        self._max_input_characters = max_input_characters
        self._max_output_tokens = max_output_tokens
        self._throttle = throttle
        self._tokens = tokens

    async def assess(self, case: Case, reading: Reading, budget: float) -> Assessment:
        """The risk by the model."""
        try:
            self._check_input(case, reading)
            answer, provenance = await self._ask(_ASSESS, RiskAnswer, case, budget)
        except UnusableAnswer as unusable:
            return no_assessment(Mode.DEEP, str(unusable), self._provenance(_ASSESS, case))
        if answer.result == "abstained":
            return no_assessment(Mode.DEEP, f"The model abstained: {answer.reasoning}", provenance)
        if not (is_score(answer.risk) and is_score(answer.confidence)):
            return no_assessment(Mode.DEEP, "The model's numbers do not lie between 0 and 1.", provenance)
        return Assessment(
            Result.DECIDED,
            Mode.DEEP,
            answer.risk,
            answer.confidence,
            presentable(answer.reasoning, REASONING_LIMIT),
            provenance,
        )

    async def decide(self, case: Case, reading: Reading, budget: float) -> AiDecision:
        """The decision by the model."""
        try:
            self._check_input(case, reading)
            answer, provenance = await self._ask(_DECIDE, VerdictAnswer, case, budget)
        except UnusableAnswer as unusable:
            return no_decision(str(unusable), self._provenance(_DECIDE, case))
        if answer.verdict == "abstain":
            return no_decision(f"The model abstained: {answer.reasoning}", provenance)
        if not is_score(answer.confidence):
            return no_decision("The model's confidence does not lie between 0 and 1.", provenance)
        return AiDecision(
            Result.DECIDED,
            Verdict(answer.verdict),
            answer.confidence,
            presentable(answer.reasoning, REASONING_LIMIT),
            provenance,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _check_input(self, case: Case, reading: Reading) -> None:
        if not reading.legible:
            raise UnusableAnswer("The content holds no text that a model can read.")
        document = case.document
        facts = sum(len(name) + len(value) for name, value in document.facts)
        length = len(document.title) + len(case.circumstances) + facts + len(document.text)
        if length > self._max_input_characters:
            # A decision on the beginning alone would approve the rest unread.
            raise UnusableAnswer(
                f"The request is longer than the {self._max_input_characters} characters that are read whole."
            )

    async def _ask(
        self, prompt: prompts.Prompt, schema: type[Answer], case: Case, budget: float
    ) -> tuple[Answer, Provenance]:
        """The model's answer. Raises UnusableAnswer, or Unavailable when there is none."""
        await self._tokens.check(case.account)
        key = self._api_key()
        begun = time.monotonic()
        try:
            async with self._throttle.admitted(
                case.account.tenant, min(_MOST_PATIENCE, max(budget / 2, 0.0))
            ) as admission:
                seconds = min(budget - (time.monotonic() - begun), self._timeout)
                answer, answered_by = await self._answered(admission, prompt, schema, case, key, seconds)
        except Paused as paused:
            raise _unavailable(
                f"the model is not asked for {paused.seconds:.0f} s: {paused}", paused.seconds
            ) from None
        answer.reasoning = _redacted(answer.reasoning, key)
        return answer, self._provenance(prompt, case, answered_by)

    async def _answered(
        self,
        admission: Admission,
        prompt: prompts.Prompt,
        schema: type[Answer],
        case: Case,
        key: str,
        seconds: float,
    ) -> tuple[Answer, str]:
        """The answer to an admitted call, and the name of the model that gave it. Raises as `_ask` does."""
        with self._span() as span:
            try:
                completion = await self._completion(prompt, case, key, seconds)
            except _NoAnswer as none:
                if none.fault or none.retry_after:
                    admission.failed(none.retry_after)
                raise _unavailable(str(none), none.retry_after) from None
            except UnusableAnswer:
                admission.answered()
                raise
            admission.answered()
            answered_by = model_name(_redacted(completion.model or "", key))
            span.set_attribute("gen_ai.response.model", answered_by)
            return read_answer(completion, schema), answered_by

    async def _completion(self, prompt: prompts.Prompt, case: Case, key: str, seconds: float) -> Completion:
        """The envelope of the model's answer, with its tokens charged. Raises _NoAnswer or UnusableAnswer."""
        messages = prompt.messages(case)
        # Four characters a token: a guess for servers that count none, and for answers that nobody received.
        usage = Usage((len(messages.system) + len(messages.user)) // 4, 0)
        try:
            with _errors_mapped(seconds):
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
                        extra_headers={"Authorization": f"Bearer {key}"},
                    )
                usage = Usage(usage.prompt, len(response.content) // 4)
                completion = read_completion(response.content)
        except _NoAnswer as none:
            if none.billed:
                await self._tokens.charge(case.account, self._shown_model, usage)
            raise
        await self._tokens.charge(case.account, self._shown_model, usage_of(completion) or usage)
        return completion

    def _provenance(self, prompt: prompts.Prompt, case: Case, answered_by: str = "") -> Provenance:
        # The server's own name is a claim: it stands beside the configured one, not in its place.
        model = self._shown_model
        if answered_by not in ("", model):
            model = f"{model} ({answered_by})"
        return Provenance(self.name, model, prompt.digest(rule_set().digest), case.digest())

    @contextmanager
    def _span(self) -> Iterator[trace.Span]:
        """A client span by OpenTelemetry's GenAI conventions, without content."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": self._shown_model,
            "server.address": self._client.base_url.host,
        }
        with _TRACER.start_as_current_span(
            f"chat {self._shown_model}",
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


@contextmanager
def _errors_mapped(seconds: float) -> Iterator[None]:
    """Raises UnusableAnswer for content that is not taken, _NoAnswer for no answer.

    No foreign text goes on: it may quote the key or the content.
    """
    try:
        yield
    except (TimeoutError, openai.APITimeoutError) as error:
        # Whoever has little time left learns nothing about the model, for others may have more.
        raise _NoAnswer(
            f"the model did not answer within {seconds:.1f} s",
            fault=seconds >= _PATIENT_SECONDS,
            billed=seconds > 0 and not isinstance(error.__cause__, httpx2.ConnectTimeout),
        ) from None
    except openai.APIStatusError as error:
        raise _by_status(error) from None
    except (BrokenEnvelope, UnreadableBody) as broken:
        _LOG.warning("what the model's server sent is no answer: %s", broken)
        raise _NoAnswer("what the model's server sent is no chat completion", billed=True) from None
    except openai.OpenAIError as error:
        _LOG.warning("the model cannot be reached: %s", type(error.__cause__ or error).__name__)
        raise _NoAnswer("the model cannot be reached") from None


def _by_status(error: openai.APIStatusError) -> UnusableAnswer | _NoAnswer:
    status = error.status_code
    # The SDK takes the code as it comes: of any type.
    about_the_input = isinstance(error.code, str) and error.code in _CODES_ABOUT_THE_INPUT
    if status in _ABOUT_THE_INPUT or (status < 500 and about_the_input):
        return UnusableAnswer("The model's provider does not accept this content.")
    if 400 <= status < 500 and status not in (408, 409, 429):
        _LOG.error("the model's provider answers HTTP %d; check key, model and base URL", status)
    return _NoAnswer(
        f"the model's provider answered HTTP {status}",
        fault=status not in _ABOUT_ONE_CALL,
        retry_after=retry_after(error.response.headers),
    )


def _redacted(text: str, key: str) -> str:
    """`text` without the API key, which a server may echo."""
    return text.replace(key, "[redacted]") if len(key) >= _SHORTEST_SECRET else text


def _unavailable(message: str, retry_after: float) -> Unavailable:
    return Unavailable(
        message,
        reason="MODEL_UNAVAILABLE",
        metadata={"provider": LlmScorer.name},
        retry_after=min(retry_after, LONGEST_RETRY_AFTER),
    )
