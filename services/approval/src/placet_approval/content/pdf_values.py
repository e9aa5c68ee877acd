"""Values of an untrusted PDF, as their type or not at all. A PDF may hold anything anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pypdf.generic import ArrayObject, ByteStringObject, DictionaryObject, NameObject, StreamObject

# Most entries of one tree or list that are looked at; more are not read at all.
MOST_ENTRIES = 10_000
_DEEPEST = 50


def resolved(value: Any) -> Any:  # Any: a PDF's value is of any type
    """The value behind a reference."""
    return value.get_object() if hasattr(value, "get_object") else value


def dictionary(value: Any) -> DictionaryObject:
    """The dictionary or stream; an empty one in place of anything else."""
    found = resolved(value)
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def array(value: Any) -> ArrayObject:
    """The array; an empty one in place of anything else."""
    found = resolved(value)
    return found if isinstance(found, ArrayObject) else ArrayObject()


def number(value: Any, default: float = 0.0) -> float:
    """The finite number, else `default`."""
    found = resolved(value)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else default


def flags(value: Any) -> int:
    """The bits of a field of flags; none in place of anything else."""
    return int(number(value))


def text(value: Any) -> str:
    """The text of a string, name, number, stream, or list of them; empty in place of anything else."""
    found = resolved(value)
    if isinstance(found, NameObject):
        return found.removeprefix("/")
    if isinstance(found, str):
        return found
    if isinstance(found, ByteStringObject):
        return found.decode("latin-1")
    if isinstance(found, StreamObject):
        return found.get_data().decode("utf-8", "replace")
    if isinstance(found, ArrayObject):
        return ", ".join(
            text(one) for one in found[:MOST_ENTRIES] if not isinstance(resolved(one), ArrayObject)
        )
    return str(found) if isinstance(found, int | float) else ""


def tree(root: Any, children: str) -> Iterator[tuple[DictionaryObject, tuple[DictionaryObject, ...]]]:
    """Every dictionary below the list `root`, each once, with those above it; depth and number are bounded.

    Raises ValueError where there are more.
    """
    seen: set[int] = set()
    stack: list[tuple[Any, tuple[DictionaryObject, ...]]] = [(one, ()) for one in reversed(array(root))]
    while stack:
        node, above = stack.pop()
        found = dictionary(node)
        if id(found) in seen or not found:
            continue
        seen.add(id(found))
        if len(seen) > MOST_ENTRIES or len(above) > _DEEPEST:
            raise ValueError("the tree is too large")
        yield found, above
        below = array(found.get(children))
        stack += [(one, (*above, found)) for one in reversed(below)]
