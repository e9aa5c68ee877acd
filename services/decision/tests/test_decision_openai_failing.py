"""The openai provider on a real wire: answers that do not count are abstentions, no answer is unavailable."""

import asyncio
import gzip
import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from placet_decision.domain import AiDecision, Assessment, Case, Document, Mode, Result
from placet_decision.providers import Provider, http_client
from placet_decision.providers.completions import MAX_VERDICT_BYTES
from placet_decision.providers.reader import NotRead, Reader, Reading
from placet_rpc.errors import Unavailable
from placet_testing.model import FakeModel, completion, risk, verdict

pytestmark = pytest.mark.integration

HARMLESS = "The quarterly figures are attached for your information."


def case(text: str = HARMLESS, **more: Any) -> Case:
    return replace(Case(Document("Figures", text, "text/plain")), **more)


async def assess(provider: Provider, asked: Case, budget: float = 20) -> Assessment:
    return await provider.assess(asked, Mode.DEEP, budget)


async def test_a_model_is_not_asked_about_content_that_rules_cannot_read(
    provider: Provider, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_read(*_: Any) -> Reading:
        raise NotRead("The content takes too long.")

    monkeypatch.setattr(Reader, "read", not_read)
    assert (await assess(provider, case())).reasoning == "The content takes too long."
    assert (await decide(provider, case())).result is Result.ABSTAINED
    assert model.seen == []


async def decide(provider: Provider, asked: Case, budget: float = 20) -> AiDecision:
    return await provider.decide(asked, budget)


# ── answers that do not count: abstentions ──────────────────────────────────────────────────────────

UNUSABLE_TEXTS = {
    "no JSON": "I would say it is fine.",
    "half of JSON": '{"verdict": "approve", "conf',
    "a list": "[]",
    "null": "null",
    "empty": "",
    "another form": {"answer": 42},
    "an unknown word": {**verdict(), "verdict": "approved!", "result": "sure"},
    "more than was asked": {**verdict(), **risk(), "extra": "x"},
    "a number in words": {**verdict(), **risk(), "confidence": "high", "risk": "low"},
    "a name twice": '{"verdict": "reject", "verdict": "approve", "confidence": 0.9, "reasoning": "Fine."}',
    "a longer text than anyone reads": {**verdict(), "reasoning": "x" * MAX_VERDICT_BYTES},
    "nested without end": "[" * 10_000,
    "half of a surrogate pair": '{"verdict": "approve", "confidence": 0.9, "reasoning": "\\ud800"}',
    "an invisible reason": {
        "verdict": "approve",
        "result": "assessed",
        "confidence": 0.9,
        "risk": 0.1,
        "reasoning": "\u200b\u2062\u3164",
    },
    "no reason": {
        "verdict": "approve",
        "result": "assessed",
        "confidence": 0.9,
        "risk": 0.1,
        "reasoning": " ",
    },
}


@pytest.mark.parametrize("text", UNUSABLE_TEXTS.values(), ids=UNUSABLE_TEXTS)
async def test_a_malformed_answer_is_an_abstention(
    model: FakeModel, provider: Provider, text: object
) -> None:
    model.says(text)
    assessment, decision = await assess(provider, case()), await decide(provider, case())
    assert (assessment.result, assessment.risk) == (Result.ABSTAINED, 0.0)
    assert (decision.result, decision.verdict) == (Result.ABSTAINED, None)
    assert assessment.reasoning
    assert decision.reasoning


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1, 70, -1e308])
async def test_a_number_that_is_no_score_is_an_abstention(
    model: FakeModel, provider: Provider, value: float
) -> None:
    for broken in (risk(value), risk(0.1, value)):
        model.says(broken)
        assert (await assess(provider, case())).result is Result.ABSTAINED
    model.says(verdict("approve", value))
    assert (await decide(provider, case())).result is Result.ABSTAINED


async def test_a_refusal_is_an_abstention(model: FakeModel, provider: Provider) -> None:
    model.body = completion(None, refusal="I cannot help with that.")
    assert (await assess(provider, case())).result is Result.ABSTAINED
    decision = await decide(provider, case())
    assert decision.result is Result.ABSTAINED
    assert "refused" in decision.reasoning


@pytest.mark.parametrize("finish", ["length", "content_filter", "tool_calls", "stop ", "", None])
async def test_an_answer_that_did_not_come_to_its_end_is_an_abstention(
    model: FakeModel, provider: Provider, finish: str | None
) -> None:
    model.body = completion(json.dumps(verdict()), finish=finish)
    assert (await decide(provider, case())).result is Result.ABSTAINED


CALL = {"id": "call-1", "type": "function", "function": {"name": "approve", "arguments": "{}"}}
UNUSABLE_CHOICES = {
    "two choices": {"choices": 2},
    "a call of a tool": {"tool_calls": [CALL]},
    "calls that are none": {"tool_calls": [None]},
    "a refusal beside the verdict": {"refusal": "I would rather not."},
}


@pytest.mark.parametrize("more", UNUSABLE_CHOICES.values(), ids=UNUSABLE_CHOICES)
async def test_only_one_plain_choice_counts(
    model: FakeModel, provider: Provider, more: dict[str, Any]
) -> None:
    model.body = completion(json.dumps(verdict()), **more)
    assert (await decide(provider, case())).result is Result.ABSTAINED
    model.body = completion(json.dumps(risk()), **more)
    assert (await assess(provider, case())).result is Result.ABSTAINED
    model.body = completion(json.dumps(verdict()), choices=1, tool_calls=[])
    assert (await decide(provider, case())).result is Result.DECIDED


async def test_a_model_may_abstain(model: FakeModel, provider: Provider) -> None:
    model.says(risk(0.0, 0.5, "abstained", "Not my field."))
    assessment = await assess(provider, case())
    model.says(verdict("abstain", 0.5, "Not my field."))
    decision = await decide(provider, case())
    assert assessment.result is Result.ABSTAINED
    assert decision.result is Result.ABSTAINED
    assert "Not my field." in assessment.reasoning
    assert "Not my field." in decision.reasoning


async def test_text_that_is_too_long_to_be_read_whole_is_not_judged_in_part(
    model: FakeModel, provider_for: Callable[..., Any]
) -> None:
    async with provider_for(model.base_url, max_input_characters=100) as provider:
        assert (await assess(provider, case("word " * 100))).result is Result.ABSTAINED
        assert (await decide(provider, case("word " * 100))).result is Result.ABSTAINED
    assert model.seen == []


async def test_where_there_is_nothing_to_read_no_model_is_asked(model: FakeModel, provider: Provider) -> None:
    assert (await decide(provider, case(" \u200b "))).result is Result.ABSTAINED
    assert model.seen == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(413, "too_large"), (400, "context_length_exceeded"), (400, "content_filter")],
)
async def test_content_that_the_provider_does_not_take_is_an_abstention(
    model: FakeModel, provider: Provider, status: int, code: str
) -> None:
    model.status, model.body = status, json.dumps({"error": {"message": "no", "code": code}}).encode()
    assert (await decide(provider, case())).result is Result.ABSTAINED


# ── no answer: unavailable ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529, 301])
async def test_a_provider_in_trouble_is_unavailable_and_asked_once(
    model: FakeModel, provider: Provider, status: int
) -> None:
    model.status, model.body = status, b'{"error": {"message": "trouble"}}'
    model.headers = {"content-type": "application/json", "location": "http://127.0.0.1:1/"}
    with pytest.raises(Unavailable) as raised:
        await decide(provider, case())
    assert raised.value.reason == "MODEL_UNAVAILABLE"
    assert raised.value.metadata == {"provider": "openai"}
    assert len(model.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_wrong_configuration_is_unavailable_and_leaks_no_key(
    model: FakeModel, provider: Provider, status: int, api_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    message = f"Incorrect API key provided: {api_key}. You sent: {HARMLESS}"
    model.status, model.body = status, json.dumps({"error": {"message": message}}).encode()
    with pytest.raises(Unavailable) as raised:
        await decide(provider, case())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("placet")]
    assert any(str(status) in line for line in ours)
    assert api_key not in str(raised.value) + raised.value.message + caplog.text
    assert HARMLESS not in str(raised.value) + caplog.text


JSON = "application/json"
GOOD = completion(json.dumps(verdict()))
BROKEN_BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "HTML": (b"<html>Sign in to go on</html>", {"content-type": "text/html"}),
    "HTML that claims to be JSON": (b"<html>", {"content-type": JSON}),
    "half of JSON": (GOOD[:-3], {"content-type": JSON}),
    "nothing": (b"", {"content-type": JSON}),
    "an error": (b'{"error": {"message": "overloaded", "code": "content_filter"}}', {"content-type": JSON}),
    "an error beside an answer": (completion(json.dumps(verdict()), error={"code": 502}), {}),
    "a stream": (b"data: " + GOOD + b"\n\ndata: [DONE]\n\n", {"content-type": "text/event-stream"}),
    "a piece of a stream": (
        b'{"object": "chat.completion.chunk", "choices": [{"delta": {"content": "x"}}]}',
        {"content-type": JSON},
    ),
    "gzip": (gzip.compress(GOOD), {"content-type": JSON, "content-encoding": "gzip"}),
    "gzip that is none": (GOOD, {"content-type": JSON, "content-encoding": "gzip"}),
    "gzip that is not told": (gzip.compress(GOOD), {"content-type": JSON}),
    "an unknown encoding": (GOOD, {"content-type": JSON, "content-encoding": "x-own"}),
    "a flood": (b" " * http_client.MAX_ANSWER_BYTES + GOOD, {"content-type": JSON}),
    "a string": (b'"approve"', {"content-type": JSON}),
    "a verdict without envelope": (json.dumps(verdict()).encode(), {"content-type": JSON}),
    "no choices": (b'{"choices": []}', {"content-type": JSON}),
    "choices that are none": (b'{"choices": 7}', {"content-type": JSON}),
    "a choice without message": (b'{"choices": [{"finish_reason": "stop"}]}', {"content-type": JSON}),
    "nested without end": (b"[" * 200_000, {"content-type": JSON}),
    "no text": (b"\xff\xfe\x00", {"content-type": JSON}),
}


@pytest.mark.parametrize(("body", "headers"), BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_a_broken_envelope_is_unavailable_and_no_answer(
    model: FakeModel, provider: Provider, body: bytes, headers: dict[str, str]
) -> None:
    model.body, model.headers = body, headers
    for ask in (assess, decide):
        with pytest.raises(Unavailable) as raised:
            await ask(provider, case())
        assert raised.value.reason == "MODEL_UNAVAILABLE"


async def test_a_body_is_read_no_further_than_its_bound(model: FakeModel, provider: Provider) -> None:
    # It never ends; without a bound this would read until its time is over.
    model.body, model.endless = b" " * (1 << 16), True
    with pytest.raises(Unavailable, match="no chat completion"):
        await decide(provider, case())
    # What the kernel's buffers take besides.
    assert model.sent < 8 * http_client.MAX_ANSWER_BYTES


async def test_a_slow_model_is_unavailable_within_the_time_that_is_left(
    model: FakeModel, provider: Provider
) -> None:
    model.hold = asyncio.Event()
    with pytest.raises(Unavailable, match="did not answer within"):
        await decide(provider, case(), budget=0.2)
    model.hold.set()


async def test_a_model_that_drips_cannot_outlast_the_time_that_is_left(
    model: FakeModel, provider: Provider
) -> None:
    model.says(verdict())
    model.drip = 1
    with pytest.raises(Unavailable, match="did not answer within"):
        await decide(provider, case(), budget=0.5)


async def test_no_model_is_asked_when_no_time_is_left(model: FakeModel, provider: Provider) -> None:
    with pytest.raises(Unavailable, match="did not answer within"):
        await decide(provider, case(), budget=-0.1)
    assert model.seen == []


async def test_a_model_that_is_not_there_is_unavailable(provider_for: Callable[..., Any]) -> None:
    gone = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    await gone.wait_closed()
    async with provider_for(f"http://127.0.0.1:{port}/v1") as provider:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await assess(provider, case())


async def test_a_broken_off_answer_is_unavailable(model: FakeModel, provider: Provider) -> None:
    model.says(verdict())
    model.headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    with pytest.raises(Unavailable):
        await decide(provider, case())
