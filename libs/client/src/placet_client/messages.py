"""The contract's messages, made of plain Python."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypedDict, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_rpc.errors import FieldViolation, InvalidArgument

_OWN_FACTS = ("kind", "amount", "currency", "counterparty", "target", "environment")
_Number = TypeVar("_Number", bound=int)


class Selection(TypedDict, total=False):
    """Selection of requests; all that is given must hold. See ApprovalFilter in the contract."""

    states: Iterable[str]  # PENDING, APPROVED, REJECTED, CANCELLED, ANSWERED
    policy: str
    subject_id: str
    waiting_for_me: bool
    requester: str
    approver: str
    labels: Mapping[str, str]
    from_create_time: datetime  # aware of its time zone; inclusive
    until_create_time: datetime  # exclusive


def content_of(content: str | bytes, media_type: str) -> approval_pb2.Content:
    """Content for the wire; text goes as UTF-8."""
    body = content.encode() if isinstance(content, str) else content
    return approval_pb2.Content(body=body, media_type=media_type)


def assignments_of(
    required_approver: str, manager_approver: str, assignments: Mapping[str, Sequence[str]]
) -> Iterable[approval_pb2.Assignment]:
    """The contract's assignments, slot by slot. Warns where the managers were asked before."""
    named: dict[str, list[str]] = {}
    for slot, person in (("required_approver", required_approver), ("manager_approver", manager_approver)):
        if person:
            named[slot] = [person]
    for slot, people in assignments.items():
        named.setdefault(slot, []).extend(people)
    if warning := warning_of_same(named):
        # Of the program that calls request_approval.
        warnings.warn(warning, stacklevel=3)
    return [approval_pb2.Assignment(slot=slot, people=people) for slot, people in named.items()]


def warning_of_same(assignments: Mapping[str, Sequence[str]]) -> str:
    """A warning where the managers are approvers too, so that nobody else is asked after a silence; or ""."""
    first, then = (
        {one.lower() for one in assignments.get(slot, ())}
        for slot in ("required_approver", "manager_approver")
    )
    if not then or not then <= first:
        return ""
    verb = "is" if len(then) == 1 else "are"
    return f"{' and '.join(sorted(then))} {verb} both approver and manager, so nobody else is asked"


def facts_of(given: Mapping[str, str]) -> approval_pb2.Facts:
    """The contract's facts; "amount" may have its currency behind it: "120.50 EUR"."""
    facts = dict(given)
    if "currency" not in facts:
        amount, _, currency = facts.get("amount", "").partition(" ")
        facts |= {"amount": amount, "currency": currency.strip().upper()}
    own = {name: facts.pop(name, "") for name in _OWN_FACTS}
    return approval_pb2.Facts(**own, others=facts)


def filter_of(selection: Selection) -> approval_service_pb2.ApprovalFilter:
    """The contract's filter. Raises InvalidArgument for an unknown state or a time without a zone."""
    value, names = event_pb2.State.Value, event_pb2.State.keys()
    return approval_service_pb2.ApprovalFilter(
        states=[enum_value(value, names, "filter.states", state) for state in selection.get("states", ())],
        policy=selection.get("policy", ""),
        subject_id=selection.get("subject_id", ""),
        waiting_for_me=selection.get("waiting_for_me", False),
        requester=selection.get("requester", ""),
        approver=selection.get("approver", ""),
        labels=selection.get("labels", {}),
        from_create_time=timestamp_of("from_create_time", selection.get("from_create_time")),
        until_create_time=timestamp_of("until_create_time", selection.get("until_create_time")),
    )


def enum_value(value: Callable[[str], _Number], names: Sequence[str], field: str, name: str) -> _Number:
    """The number of an enum's value by its `name` without prefix, in any case. Raises InvalidArgument.

    `value` and `names` are the generated enum's `Value` and `keys()`.
    """
    prefix = names[0].removesuffix("UNSPECIFIED")
    known = [full.removeprefix(prefix) for full in names if not full.endswith("UNSPECIFIED")]
    if name.upper() not in known:
        choice = ", ".join(known)
        violation = FieldViolation(field, f"must be one of {choice}")
        raise InvalidArgument(f"{name!r} is not one of {choice}", violations=[violation])
    return value(prefix + name.upper())


def key_of(given: uuid.UUID | str | None) -> str:
    """An idempotency key; a new one only where none is given. The service refuses an empty one."""
    return str(uuid.uuid4() if given is None else given)


def timestamp_of(field: str, time: datetime | None) -> Timestamp | None:
    """A time on the wire. Raises InvalidArgument for one that does not say its time zone."""
    if time is None:
        return None
    if time.tzinfo is None:
        violation = FieldViolation(field, "must say its time zone")
        raise InvalidArgument(f"{field} does not say its time zone", violations=[violation])
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
