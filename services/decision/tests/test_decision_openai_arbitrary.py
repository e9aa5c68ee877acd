"""The openai provider and arbitrary answers: an abstention or unavailable, and nothing else."""

import asyncio
import gzip
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from placet_decision.domain import Case, Document, Mode, Result
from placet_decision.providers import Provider
from placet_decision.providers.http_client import MAX_ANSWER_BYTES
from placet_rpc.errors import Unavailable
from placet_testing.model import FakeModel, completion, risk, serving_model, verdict

pytestmark = pytest.mark.integration

ProviderFor: TypeAlias = Callable[..., AbstractAsyncContextManager[Provider]]

CASE = Case(Document("Figures", "The quarterly figures are attached.", "text/plain"))

NUMBERS = st.integers() | st.floats() | st.just(10**400)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
# The envelope's own words in any arrangement, so that the search gets beyond the first missing one.
WORDS = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "refusal",
        "finish_reason",
        "model",
        "error",
        "code",
        "index",
        "tool_calls",
        "reasoning",
    ]
)
ENVELOPES = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
# A sound envelope with one thing put in place of another.
PLACES = st.sampled_from(
    [
        ("choices",),
        ("choices", 0),
        ("choices", 0, "message"),
        ("choices", 0, "message", "content"),
        ("choices", 0, "message", "refusal"),
        ("choices", 0, "finish_reason"),
        ("choices", 0, "index"),
        ("model",),
        ("usage",),
        ("id",),
    ]
)
FORMS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("verdict", "result", "risk", "confidence", "reasoning", "more"), JSON),
)
DEEP = b'{"error": {"code": ' + b"[" * 950 + b"]" * 950 + b"}}"


# Each example is a server, a provider and two calls.
async def ask_both(
    provider_for: ProviderFor, body: bytes, status: int = 200, encoding: str = "identity"
) -> list[object]:
    """The results of an assessment and of a decision, when the model gives this answer."""
    outcomes: list[object] = []
    headers = {"content-type": "application/json", "content-encoding": encoding}
    fake = FakeModel(status=status, body=body, headers=headers)
    async with serving_model(fake) as model, provider_for(model.base_url) as provider:
        for asked in (provider.assess(CASE, Mode.DEEP, 20), provider.decide(CASE, 20)):
            try:
                outcomes.append((await asked).result)
            except Unavailable as unavailable:
                outcomes.append(unavailable.reason)
    return outcomes


@given(ENVELOPES)
@example({"choices": []})
@example({"error": {"message": "no"}})
def test_any_json_in_place_of_an_answer_is_unavailable_unless_it_holds_a_message(
    provider_for: ProviderFor, body: object
) -> None:
    outcomes = set(asyncio.run(ask_both(provider_for, json.dumps(body).encode())))
    says_something = isinstance(body, dict) and "message" in json.dumps(body.get("choices"))
    assert outcomes == {"MODEL_UNAVAILABLE"} or (says_something and outcomes == {Result.ABSTAINED})


@given(st.binary() | st.text().map(str.encode))
@example(b"")
@example(b"data: {}\n\ndata: [DONE]\n\n")
def test_any_bytes_in_place_of_an_answer_are_unavailable(provider_for: ProviderFor, body: bytes) -> None:
    assert asyncio.run(ask_both(provider_for, body)) == ["MODEL_UNAVAILABLE", "MODEL_UNAVAILABLE"]


@given(PLACES, ENVELOPES)
@example(("model",), [1])
@example(("choices",), {"a": 1})
@example(("choices", 0, "message", "content"), {"verdict": "approve"})
def test_any_json_in_any_place_of_an_answer_is_no_decision_or_does_not_matter(
    provider_for: ProviderFor, place: tuple[str | int, ...], value: object
) -> None:
    body = json.loads(completion(json.dumps(verdict())))
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    outcomes = asyncio.run(ask_both(provider_for, json.dumps(body).encode()))
    assert outcomes[0] in ("MODEL_UNAVAILABLE", Result.ABSTAINED)  # A verdict is no risk.
    assert outcomes[1] in ("MODEL_UNAVAILABLE", Result.ABSTAINED, Result.DECIDED)


@given(FORMS)
def test_any_json_in_the_form_is_an_abstention_unless_it_is_sound(
    provider_for: ProviderFor, form: dict[str, object]
) -> None:
    sound = {
        **risk(),
        **form,
    }
    outcomes = asyncio.run(ask_both(provider_for, completion(json.dumps(sound))))
    assert set(outcomes) <= {Result.ABSTAINED, Result.DECIDED}


@given(st.sampled_from([400, 401, 403, 404, 422]), ENVELOPES)
@example(400, {"error": {"code": {}}})
@example(400, {"error": {"code": ["content_filter"]}})
@example(400, {"code": 7})
def test_a_refusal_of_any_shape_is_unavailable_or_an_abstention(
    provider_for: ProviderFor, status: int, body: object
) -> None:
    outcomes = asyncio.run(ask_both(provider_for, json.dumps(body).encode(), status))
    assert set(outcomes) <= {"MODEL_UNAVAILABLE", Result.ABSTAINED}


@given(
    st.sampled_from([301, 408, 429, 500, 503, 599]), ENVELOPES.map(json.dumps).map(str.encode) | st.binary()
)
@example(500, DEEP)
@example(503, b"")
def test_a_provider_in_trouble_is_unavailable_whatever_it_says(
    provider_for: ProviderFor, status: int, body: bytes
) -> None:
    outcomes = asyncio.run(ask_both(provider_for, body, status))
    assert outcomes == ["MODEL_UNAVAILABLE", "MODEL_UNAVAILABLE"]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_provider_in_trouble_that_floods_is_unavailable(provider_for: ProviderFor, encoding: str) -> None:
    flood = b" " * (100 * MAX_ANSWER_BYTES)
    # A hundred kilobytes on the wire, and a hundred megabytes in memory for whoever decodes them.
    body = gzip.compress(flood) if encoding == "gzip" else flood[: 2 * MAX_ANSWER_BYTES]
    outcomes = asyncio.run(ask_both(provider_for, body, 500, encoding))
    assert outcomes == ["MODEL_UNAVAILABLE", "MODEL_UNAVAILABLE"]
