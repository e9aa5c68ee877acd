"""JSON that somebody else wrote: read in one way, within bounds, or refused with a sentence of ours."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_proof import NotJson, read_json, read_object
from placet_proof.json_reader import MOST_DEPTH, MOST_VALUES

MOST = 16 << 20
LARGE = 30 << 20


def refusal(raw: bytes, most: int = MOST) -> str:
    with pytest.raises(NotJson) as caught:
        read_json(raw, most)
    return str(caught.value)


def test_json_is_read_as_it_was_written() -> None:
    found = {"text": 'é \\ud800 "', "list": [1, -2.5, True, None, {}, []], "most": (1 << 53) - 1}
    assert read_json(json.dumps(found).encode(), MOST) == found
    assert read_json(json.dumps(found, ensure_ascii=False, indent=2).encode(), MOST) == found
    assert read_json(b'"\\ud83d\\ude00"', MOST) == "\U0001f600"


REFUSED = {
    "nothing": (b"", "it is not JSON (line 1, column 1)"),
    "half": (b'{"a": [1,', "it is not JSON (line 1, column 10)"),
    "more after it": (b"{}\n{}", "it is not JSON (line 2, column 1)"),
    "not UTF-8": (b'"\xff"', "it is not text in UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "it is not text in UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "it begins with a byte order mark, which JSON does not have"),
    "half a surrogate pair": (b'["\\ud800"]', "a text in it holds half of a surrogate pair"),
    "half a surrogate pair in a name": (b'{"\\udfff": 1}', "a text in it holds half of a surrogate pair"),
    "a name twice": (b'[{"a": 1, "a": 1}]', "a field is there twice"),
    "a name twice, written otherwise": (b'{"a": 1, "\\u0061": 1}', "a field is there twice"),
    "NaN": (b"[NaN]", "NaN is no number in JSON"),
    "Infinity": (b"[-Infinity]", "-Infinity is no number in JSON"),
    "a number without end": (b"1e999", "a number in it is too large, or too long"),
    "a fraction of many digits": (b"0." + b"1" * 40, "a number in it is too large, or too long"),
    "2^53": (b"9007199254740992", "an integer in it is beyond 2^53 - 1, which JSON cannot carry exactly"),
    "an integer of a million digits": (
        b"9" * 1_000_000,
        "an integer in it is beyond 2^53 - 1, which JSON cannot carry exactly",
    ),
    "a control character": (b'"\x00"', "it is not JSON (line 1, column 2)"),
    "single quotes": (b"{'a': 1}", "it is not JSON (line 1, column 2)"),
    "deep lists": (b"[" * LARGE, "it is larger than 16 MiB"),
    "deep lists within the size": (b"[" * 100_000, "it is nested deeper than 32 levels"),
    "deep lists that end": (b"[" * 500 + b"]" * 500, "it is nested deeper than 32 levels"),
    "deep objects": (b'{"a":' * 100_000, "it is nested deeper than 32 levels"),
    "much": (b'"' + b"a" * LARGE + b'"', "it is larger than 16 MiB"),
    "many values": (b"[" + b"{}," * (MOST_VALUES + 1) + b"1]", f"it holds more than {MOST_VALUES:,} values"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_it_is_refused_with_a_sentence(how: str) -> None:
    raw, sentence = REFUSED[how]
    assert refusal(raw) == sentence


def test_the_depth_is_bounded_exactly() -> None:
    read_json(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH, MOST)
    assert "deeper" in refusal(b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1))


def test_the_size_is_bounded_exactly() -> None:
    assert read_json(b"[1]", 3) == [1]
    assert refusal(b"[1]", 2) == "it is larger than 2 bytes"


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"a"', b"5"])
def test_an_object_is_asked_for_and_another_value_refused(raw: bytes) -> None:
    with pytest.raises(NotJson, match="no JSON object"):
        read_object(raw, MOST)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53) + 1, (1 << 53) - 1) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=9,
)


@given(value=VALUES, ascii_only=st.booleans())
def test_whatever_is_json_is_read_back(value: object, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode(), MOST) == value


def numbers(found: object) -> list[float]:
    if isinstance(found, dict):
        return [one for value in found.values() for one in numbers(value)]
    if isinstance(found, list):
        return [one for value in found for one in numbers(value)]
    return [found] if isinstance(found, int | float) else []


TOKENS = st.sampled_from([b"[", b"]", b"{", b"}", b",", b":", b'"', b"a", b"1", b"e", b"-", b"\\u", b"d8"])


@given(raw=st.binary(max_size=60) | st.lists(TOKENS).map(b"".join))
def test_any_bytes_are_read_or_refused_and_no_other_error_leaves(raw: bytes) -> None:
    try:
        found = read_json(raw, MOST)
    except NotJson:
        return
    assert found == json.loads(raw)
    assert all(math.isfinite(one) for one in numbers(found))
