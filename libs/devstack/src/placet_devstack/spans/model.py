"""A finished span, as it is kept and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True)
class Span:
    """Ids are lower-case hexadecimal, times nanoseconds since 1970.

    `parent_id` is empty for the root of a trace. `links` are (trace id, span id). `message` says why a
    span failed.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    kind: str
    start: int
    end: int
    failed: bool = False
    message: str = ""
    attributes: dict[str, Json] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()

    @property
    def duration(self) -> int:
        """Nanoseconds; 0 where a clock went backwards."""
        return max(self.end - self.start, 0)
