"""Reads JSON that somebody else wrote: RFC 8259 as I-JSON (RFC 7493) restricts it, within bounds."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MOST_DEPTH = 32
"""Most levels of objects and lists within each other."""

MOST_VALUES = 1 << 20
"""Most values in one text. Each takes up to 100 bytes of memory, whatever it takes in the text."""

_MOST_INTEGER = (1 << 53) - 1
_MOST_NUMBER_CHARACTERS = 32
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(r"[\ud800-\udfff]")

# JSON, of which every part is checked before it is used; hence Any.
JsonObject = dict[str, Any]


class NotJson(ValueError):
    """The text cannot be read; the message says why, as it follows a colon."""


def read_json(raw: bytes, most_bytes: int) -> Any:  # Any: whatever JSON may be
    """Parses JSON of at most `most_bytes`. Raises NotJson, and no other error.

    Refused is what I-JSON does not allow: another encoding than UTF-8, a byte order mark, half of a surrogate
    pair, a name twice in an object, NaN and Infinity, integers beyond 2^53 - 1. Refused beyond RFC 7493: more
    levels than MOST_DEPTH, more values than MOST_VALUES, a number of more than 32 characters.
    """
    if len(raw) > most_bytes:
        raise NotJson(f"it is larger than {size_in_words(most_bytes)}")
    if raw.startswith(_BYTE_ORDER_MARK):
        raise NotJson("it begins with a byte order mark, which JSON does not have")
    # An upper bound: some of these characters stand in texts.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MOST_VALUES:
        raise NotJson(f"it holds more than {MOST_VALUES:,} values")
    try:
        found = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise NotJson("it is not text in UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"it is not JSON (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise NotJson(_TOO_DEEP) from error
    _check(found, surrogates=b"\\u" in raw)
    return found


def read_object(raw: bytes, most_bytes: int) -> JsonObject:
    """Parses a JSON object, as `read_json`. Raises NotJson for other values too."""
    found = read_json(raw, most_bytes)
    if not isinstance(found, dict):
        raise NotJson("it is no JSON object")
    return found


def size_in_words(size: int) -> str:
    """Returns a bound in words: "16 MiB", "64 KiB", "100 bytes"."""
    for unit, length in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= length and size % length == 0:
            return f"{size // length:,} {unit}"
    return f"{size:,} bytes"


_TOO_DEEP = f"it is nested deeper than {MOST_DEPTH} levels"


def _check(found: object, *, surrogates: bool) -> None:
    """Checks the levels one after the other. Raises NotJson."""
    level, depth = [found], 0
    while level:
        if surrogates and any(_SURROGATE.search(one) for one in level if isinstance(one, str)):
            raise NotJson("a text in it holds half of a surrogate pair")
        objects = [one for one in level if isinstance(one, dict)]
        lists = [one for one in level if isinstance(one, list)]
        if depth == MOST_DEPTH and (objects or lists):
            raise NotJson(_TOO_DEEP)
        level = [value for one in objects for value in one.values()]
        level += [value for one in lists for value in one]
        if surrogates:
            level += [name for one in objects for name in one]
        depth += 1


def _once(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("a field is there twice")
    return found


def _integer(written: str) -> int:
    if len(written) > _MOST_NUMBER_CHARACTERS or abs(int(written)) > _MOST_INTEGER:
        raise NotJson("an integer in it is beyond 2^53 - 1, which JSON cannot carry exactly")
    return int(written)


def _fraction(written: str) -> float:
    if len(written) > _MOST_NUMBER_CHARACTERS or not math.isfinite(float(written)):
        raise NotJson("a number in it is too large, or too long")
    return float(written)


def _constant(written: str) -> NoReturn:
    raise NotJson(f"{written} is no number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
