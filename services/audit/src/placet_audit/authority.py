"""Rights in the log: who may append which event and where, read a receipt, erase a request.

The contract names the programs that may append an event, and its place, by the options `appended_by` and
`place` of its message (placet/event/v1/options.proto). Without `appended_by` no caller can append it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.descriptor import Descriptor

from placet.event.v1 import event_pb2, options_pb2
from placet_rpc.errors import FailedPrecondition, NotFound, PermissionDenied
from placet_rpc.identity import Principal, program_name

_PLACES: Mapping[options_pb2.Place.ValueType, str] = {
    options_pb2.PLACE_TENANT: "to a tenant's own log",
    options_pb2.PLACE_FIRST: "as a request's first event",
    options_pb2.PLACE_UNSPECIFIED: "to a request",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Right to append an event: the programs that have it, and the only place for the event."""

    programs: frozenset[str]
    place: options_pb2.Place.ValueType


def _rules(event: Descriptor) -> Mapping[str, Rule]:
    rules = {}
    for field in event.oneofs_by_name["body"].fields:
        if field.message_type is None:
            continue
        options = field.message_type.GetOptions()
        programs = options.Extensions[options_pb2.appended_by]
        if programs:
            place = options.Extensions[options_pb2.place]
            rules[field.name] = Rule(frozenset(map(program_name, programs)), place)
    return rules


RULES = _rules(event_pb2.Event.DESCRIPTOR)
"""By the event's name in the contract's oneof."""


def check_writer(program: str, events: Sequence[event_pb2.Event], *, expected_next: int) -> None:
    """Raises PermissionDenied NOT_THE_WRITER unless the program may append these events.

    `expected_next` is the number that the first of them would get; 0 for events of the tenant itself. The
    cause of those must be one of the program's own, because such an event is stored once by its cause; and a
    program records refusals of its own RPCs alone.
    """
    for position, event in enumerate(events):
        kind = event.WhichOneof("body") or ""
        rule = RULES.get(kind)
        if rule is None or program not in rule.programs:
            raise _not_the_writer(program, kind, f"may not append an event {kind!r}")
        if not _fits(rule.place, expected_next, position):
            raise _not_the_writer(program, kind, f"appends an event {kind!r} only {_PLACES[rule.place]}")
        if expected_next == 0 and not event.cause_id.startswith(f"{program}/"):
            raise _not_the_writer(program, kind, f"appends to a tenant's own log only causes {program}/…")
        refused = event.access_refused.method
        if kind == "access_refused" and not refused.startswith(f"/placet.{program}."):
            raise _not_the_writer(program, kind, "records refusals of its own RPCs only")


def _not_the_writer(program: str, kind: str, why: str) -> PermissionDenied:
    return PermissionDenied(
        f"Program {program} {why}.", reason="NOT_THE_WRITER", metadata={"event": kind, "program": program}
    )


def check_reader(caller: Principal, approval_id: str, concerned: Collection[str], *, exists: bool) -> None:
    """Raises NotFound UNKNOWN_APPROVAL unless the caller may have the receipt of a request.

    `concerned`: its requester and the people who were asked, unless erased.
    """
    if exists and (caller.sees_all or caller.subject in concerned):
        return
    raise NotFound(
        "The log knows no such request, or none of yours.",
        reason="UNKNOWN_APPROVAL",
        metadata={"approval_id": approval_id},
    )


def check_erasable(
    approval_id: str, path: Iterable[event_pb2.Event], retention: timedelta, *, before_retention: bool
) -> None:
    """Raises unless a request with these events may be erased now.

    NotFound UNKNOWN_APPROVAL without any event; FailedPrecondition NOT_CLOSED while open, RETAINED until
    `retention` has passed since it was closed, unless `before_retention`.
    """
    events, about = list(path), {"approval_id": approval_id}
    if not events:
        raise NotFound("The log knows no such request.", reason="UNKNOWN_APPROVAL", metadata=about)
    closed = next((event.time.ToDatetime(tzinfo=UTC) for event in events if event.HasField("closed")), None)
    if closed is None:
        raise FailedPrecondition("Only a closed request can be erased.", reason="NOT_CLOSED", metadata=about)
    if before_retention or datetime.now(UTC) - closed >= retention:
        return
    until = f"{closed + retention:%Y-%m-%dT%H:%M:%SZ}"
    raise FailedPrecondition(
        f"The request must be kept until {until}; to erase it before, set before_retention.",
        reason="RETAINED",
        metadata={"until": until},
    )


def _fits(place: options_pb2.Place.ValueType, expected_next: int, position: int) -> bool:
    if place == options_pb2.PLACE_TENANT:
        return expected_next == 0
    if place == options_pb2.PLACE_FIRST:
        return expected_next == 1 and position == 0
    return expected_next > 0
