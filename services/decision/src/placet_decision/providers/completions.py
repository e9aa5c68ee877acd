"""Chat completions as a server answers them: the envelope, and the verdict in it. Pure.

A broken envelope is no answer: whoever sent it may not be the model at all. A broken verdict in a sound
envelope is an answer that cannot be used.
"""

from __future__ import annotations

import re
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from placet_decision.domain import Usage
from placet_proof import NotJson, read_object
from placet_text import says_nothing

MAX_VERDICT_BYTES = 1 << 16
"""Most bytes of a verdict with its reasoning, of which people see 4,000 characters."""

_MOST_TOKENS = 1 << 40
_MODEL_NAME_CHARACTERS = 100
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._:/@+-]+")


class BrokenEnvelope(Exception):
    """The body is no chat completion: the model gave no answer."""


class UnusableAnswer(Exception):
    """The model's answer cannot be used. Its text says why, for people."""


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


Answer = TypeVar("Answer", RiskAnswer, VerdictAnswer)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[object] | None = None
    function_call: object | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """The fields of a chat completion that are used. `model` and `usage` are the server's claims.

    Read by this schema and not by the SDK's `parse`, which does not validate it: see decision 022.
    """

    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: object | None = None
    # Some servers answer 200 with an error.
    error: object | None = None


def read_completion(body: bytes) -> Completion:
    """The envelope of an answer. Raises BrokenEnvelope."""
    try:
        completion = Completion.model_validate_json(body)
    except ValidationError:
        # No cause: it quotes the answer.
        raise BrokenEnvelope("the body is no chat completion") from None
    if completion.error:
        raise BrokenEnvelope("the body is an error")
    return completion


def read_answer(completion: Completion, schema: type[Answer]) -> Answer:
    """The answer in the one choice of a completion. Raises UnusableAnswer."""
    if len(completion.choices) > 1:
        raise UnusableAnswer("The model gave several answers to one question.")
    choice = completion.choices[0]
    if choice.message.refusal:
        raise UnusableAnswer("The model refused to answer.")
    if choice.message.tool_calls or choice.message.function_call:
        raise UnusableAnswer("The model asked for a tool, and none was offered.")
    if choice.finish_reason == "length":
        raise UnusableAnswer("The model's answer was cut off at the limit of its length.")
    if choice.finish_reason == "content_filter":
        raise UnusableAnswer("The model's provider filtered the answer.")
    if choice.finish_reason != "stop":
        raise UnusableAnswer("The model's answer did not come to its end.")
    if not choice.message.content:
        raise UnusableAnswer("The model's answer is empty.")
    answer = _validated(choice.message.content, schema)
    if says_nothing(answer.reasoning):
        raise UnusableAnswer("The model gave no reason.")
    return answer


def _validated(content: str, schema: type[Answer]) -> Answer:
    try:
        # A name that is there twice would be one verdict for us, and another for who reads the record.
        return schema.model_validate(read_object(content.encode(), MAX_VERDICT_BYTES))
    except (NotJson, ValidationError):
        raise UnusableAnswer("The model's answer is malformed.") from None


def usage_of(completion: Completion) -> Usage | None:
    """The tokens that the server counted; None without two sane numbers."""
    counted = completion.usage if isinstance(completion.usage, dict) else {}
    prompt, answer = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if not (isinstance(prompt, int) and isinstance(answer, int)):
        return None
    usage = Usage(prompt, answer)
    return usage if min(prompt, answer) >= 0 and usage.total <= _MOST_TOKENS else None


def model_name(claimed: str) -> str:
    """A model's name as it may be logged and shown: ASCII, no spaces, at most 100 characters."""
    return _NOT_IN_A_NAME.sub("_", claimed[:_MODEL_NAME_CHARACTERS])
