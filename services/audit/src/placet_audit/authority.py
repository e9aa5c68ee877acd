"""Who may append which kind of event, and where it belongs; who may read a receipt, and what
may be erased. Pure.

A role may append the kinds that name it here; a kind without a rule is nobody's. So a service that is broken
into cannot write what a workflow concludes. More is not kept apart: whoever holds role `worker` (the openai
and ml workers too) may write all that a request's workflow writes, for every tenant, and whoever holds role
`service` may write a request's first event. Each worker's token is trusted with decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from placet_rpc.errors import FailedPrecondition, NotFound, PermissionDenied

Place = Literal["tenant", "first", "request"]
_PLACES: Mapping[Place, str] = {
    "tenant": "to a tenant's own log",
    "first": "as a request's first event",
    "request": "to a request",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """`role` may append such an event, in `place` only."""

    role: str
    place: Place


_BY_INTAKE = Rule("service", "first")
_BY_SERVICES = Rule("service", "tenant")
_BY_THE_WORKFLOW = Rule("worker", "request")

RULES: Mapping[str, Rule] = {
    "received": _BY_INTAKE,
    "processed": _BY_THE_WORKFLOW,
    "pre_screened": _BY_THE_WORKFLOW,
    "tier_opened": _BY_THE_WORKFLOW,
    "asked": _BY_THE_WORKFLOW,
    "notified": _BY_THE_WORKFLOW,
    "timed_out": _BY_THE_WORKFLOW,
    "escalated": _BY_THE_WORKFLOW,
    "voted": _BY_THE_WORKFLOW,
    "refused": _BY_THE_WORKFLOW,
    "fell_back": _BY_THE_WORKFLOW,
    "ai_decided": _BY_THE_WORKFLOW,
    "held": _BY_THE_WORKFLOW,
    "decided": _BY_THE_WORKFLOW,
    "closed": _BY_THE_WORKFLOW,
    "access_refused": _BY_SERVICES,
}
"""By the event's name in the contract's oneof."""


def check_writer(roles: Collection[str], kinds: Sequence[str], *, expected_next: int) -> None:
    """Raise PermissionDenied NOT_THE_WRITER unless one who holds `roles` may append events of these kinds.

    `expected_next` is the number that the first of them would get; 0 for events of the tenant itself.
    """
    for position, kind in enumerate(kinds):
        rule = RULES.get(kind)
        if rule is None:
            raise PermissionDenied(
                f"Nobody may append an event {kind!r}.", reason="NOT_THE_WRITER", metadata={"event": kind}
            )
        if rule.role not in roles or not _fits(rule.place, expected_next, position):
            raise PermissionDenied(
                f"An event {kind!r} is appended by role {rule.role} only, and only {_PLACES[rule.place]}.",
                reason="NOT_THE_WRITER",
                metadata={"event": kind, "role": rule.role},
            )


class _Reader(Protocol):
    @property
    def subject(self) -> str: ...

    @property
    def sees_all(self) -> bool: ...


def check_reader(caller: _Reader, approval_id: str, concerned: Collection[str], *, exists: bool) -> None:
    """Raise NotFound UNKNOWN_APPROVAL unless the caller may have the receipt of a request.

    `concerned`: those who asked for it or were asked, as far as the log still says so.
    """
    if exists and (caller.sees_all or caller.subject in concerned):
        return
    raise NotFound(
        "The log knows no such request, or none of yours.",
        reason="UNKNOWN_APPROVAL",
        metadata={"approval_id": approval_id},
    )


def check_erasable(approval_id: str, kinds: Collection[str]) -> None:
    """Raise unless a request whose path has events of these kinds may be erased: NotFound UNKNOWN_APPROVAL
    for one without any, FailedPrecondition NOT_CLOSED for one that is open."""
    about = {"approval_id": approval_id}
    if not kinds:
        raise NotFound("The log knows no such request.", reason="UNKNOWN_APPROVAL", metadata=about)
    if "closed" not in kinds:
        raise FailedPrecondition("Only a closed request can be erased.", reason="NOT_CLOSED", metadata=about)


def _fits(place: Place, expected_next: int, position: int) -> bool:
    match place:
        case "tenant":
            return expected_next == 0
        case "first":
            return expected_next == 1 and position == 0
        case "request":
            return expected_next > 0
