"""Rights in the log: who may append which event and where, read a receipt, erase a request.

The contract says who may append an event, by the options `appended_by` and `place` of its message
(placet/event/v1/options.proto). An event without `appended_by` can be appended by no caller.

Tokens carry roles, not programs, so the role stands for the program: whoever holds role `worker` may append
what any worker may, for every tenant, and whoever holds role `service` what any service may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor

from placet.event.v1 import event_pb2, options_pb2
from placet_rpc.errors import FailedPrecondition, NotFound, PermissionDenied
from placet_rpc.identity import Principal

_PLACES: Mapping[options_pb2.Place.ValueType, str] = {
    options_pb2.PLACE_TENANT: "to a tenant's own log",
    options_pb2.PLACE_FIRST: "as a request's first event",
    options_pb2.PLACE_UNSPECIFIED: "to a request",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Right to append an event: the role that the caller must hold, and the only place for it."""

    role: str
    place: options_pb2.Place.ValueType


def _rules(event: Descriptor) -> Mapping[str, Rule]:
    rules = {}
    for field in event.oneofs_by_name["body"].fields:
        if field.message_type is None:
            continue
        options = field.message_type.GetOptions()
        roles = {_role_of(program) for program in options.Extensions[options_pb2.appended_by]}
        if len(roles) > 1:
            raise TypeError(f"{field.full_name} is appended by programs of several roles")
        for role in roles:
            rules[field.name] = Rule(role, options.Extensions[options_pb2.place])
    return rules


def _role_of(program: str) -> str:
    return "worker" if program.startswith("worker-") else "service"


RULES = _rules(event_pb2.Event.DESCRIPTOR)
"""By the event's name in the contract's oneof."""


def check_writer(roles: Collection[str], kinds: Sequence[str], *, expected_next: int) -> None:
    """Raises PermissionDenied NOT_THE_WRITER unless a caller with `roles` may append events of these kinds.

    `expected_next` is the number that the first of them would get; 0 for events of the tenant itself.
    """
    for position, kind in enumerate(kinds):
        rule = RULES.get(kind)
        if rule is None:
            raise PermissionDenied(
                f"No caller may append an event {kind!r}.", reason="NOT_THE_WRITER", metadata={"event": kind}
            )
        if rule.role not in roles or not _fits(rule.place, expected_next, position):
            raise PermissionDenied(
                f"An event {kind!r} is appended by role {rule.role} only, and only {_PLACES[rule.place]}.",
                reason="NOT_THE_WRITER",
                metadata={"event": kind, "role": rule.role},
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


def check_erasable(approval_id: str, kinds: Collection[str]) -> None:
    """Raises unless a request with events of these kinds may be erased: NotFound UNKNOWN_APPROVAL without
    any event, FailedPrecondition NOT_CLOSED while it is open."""
    about = {"approval_id": approval_id}
    if not kinds:
        raise NotFound("The log knows no such request.", reason="UNKNOWN_APPROVAL", metadata=about)
    if "closed" not in kinds:
        raise FailedPrecondition("Only a closed request can be erased.", reason="NOT_CLOSED", metadata=about)


def _fits(place: options_pb2.Place.ValueType, expected_next: int, position: int) -> bool:
    if place == options_pb2.PLACE_TENANT:
        return expected_next == 0
    if place == options_pb2.PLACE_FIRST:
        return expected_next == 1 and position == 0
    return expected_next > 0
