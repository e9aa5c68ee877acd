"""Notifications, their identity, and the states of a delivery. Pure."""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from placet_rpc.errors import FieldViolation, InvalidArgument
from placet_text import visible

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "placet:notification")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The HTML standard's pattern for an e-mail address (section "E-mail state"), the one that protovalidate
# applies to approvers: ASCII, no spaces, no quotes.
_ADDRESS = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+"
    r"@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
# The largest integer of both databases.
MAX_CURSOR = 2**63 - 1


class Kind(StrEnum):
    """The reason for a notification."""

    ASKED = "ASKED"
    OUTCOME = "OUTCOME"
    ALARM = "ALARM"


class Channel(StrEnum):
    """The way to a recipient."""

    EMAIL = "EMAIL"
    LOG = "LOG"


class Status(StrEnum):
    """The state of a delivery. DELIVERED and FAILED are final."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class State(StrEnum):
    """The final state of a request."""

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    ANSWERED = "ANSWERED"


@dataclass(frozen=True)
class Payload:
    """Recipient and message of a notification; two calls with one key must agree in all of it."""

    kind: Kind
    approval_id: str
    content_digest: bytes
    recipient: str
    title: str
    subject_id: str
    reason: str
    tier: int
    due: datetime | None
    state: State | None
    approver: str

    @property
    def channel(self) -> Channel:
        """EMAIL when the recipient is an e-mail address, LOG otherwise."""
        return Channel.EMAIL if is_address(self.recipient) else Channel.LOG


@dataclass(frozen=True)
class Notification:
    """A payload with its id and its place (from 1, without gaps) in the tenant's stream.

    Immutable, except that recipient, title, reason and approver are erased by age, and empty then.
    """

    id: str
    cursor: int
    create_time: datetime
    payload: Payload


@dataclass(frozen=True)
class Delivery:
    """The delivery of a notification: `attempts` counts those begun, `detail` is the last error."""

    notification: Notification
    channel: Channel
    status: Status
    attempts: int
    detail: str
    deliver_time: datetime | None


@dataclass(frozen=True)
class Content:
    """The content to decide on, as text; `extracted`: the text is not the signed bytes themselves.

    `unread` says in sentences what of the content was not read, its heading first; empty if all was.
    `warnings`, a sentence each, say how text, title or subject may deceive. `facts`: those that the requester
    declares, by name.
    """

    text: str
    requester: str
    extracted: bool
    unread: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def code_of(detail: str) -> str:
    """The code at the beginning of an error, e.g. SMTP's "550"; empty without one."""
    code = detail.partition(" ")[0]
    return code if code.isascii() and code.isdigit() else ""


def is_address(recipient: str) -> bool:
    """True if a mail can be sent there."""
    return _ADDRESS.fullmatch(recipient) is not None


def checked(payload: Payload) -> Payload:
    """Returns the payload in storable form. Raises InvalidArgument that names each bad field.

    NUL, which PostgreSQL cannot store, becomes U+FFFD in free text; the recipient is an identity, so no
    control or hidden character is allowed in it.
    """
    violations = []
    if visible(payload.recipient) != payload.recipient:
        violations.append(FieldViolation("recipient", "must not contain control or hidden characters"))
    if payload.kind is Kind.OUTCOME and payload.state is None:
        violations.append(FieldViolation("state", "must be set for an outcome"))
    if payload.kind is not Kind.OUTCOME and payload.state is not None:
        violations.append(FieldViolation("state", "must be unset but for an outcome"))
    if (payload.kind is Kind.ALARM) == bool(payload.approval_id):
        violations.append(FieldViolation("approval_id", "must be set, but not for an alarm"))
    if (payload.kind is Kind.ALARM) == bool(payload.content_digest):
        violations.append(FieldViolation("content_digest", "must be set, but not for an alarm"))
    if violations:
        raise InvalidArgument("the notification is invalid", violations=violations)
    return Payload(
        kind=payload.kind,
        approval_id=str(uuid.UUID(payload.approval_id)) if payload.approval_id else "",
        content_digest=payload.content_digest,
        recipient=payload.recipient,
        title=_storable(payload.title),
        subject_id=_storable(payload.subject_id),
        reason=_storable(payload.reason),
        tier=payload.tier,
        due=payload.due,
        state=payload.state,
        approver=_storable(payload.approver),
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def notification_id(tenant: str, idempotency_key: str) -> str:
    """The notification's id: the same for every attempt, another for every tenant."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps([tenant, idempotency_key])))


def payload_digest(payload: Payload) -> bytes:
    """SHA-256 over a canonical form of the payload, 32 bytes; equal digests are the same payload."""
    canonical = {
        "version": 1,
        "kind": payload.kind,
        "approval_id": payload.approval_id,
        "content_digest": payload.content_digest.hex(),
        "recipient": payload.recipient,
        "title": payload.title,
        "subject_id": payload.subject_id,
        "reason": payload.reason,
        "tier": payload.tier,
        "due": None if payload.due is None else (payload.due - _EPOCH) // timedelta(microseconds=1),
        "state": payload.state,
        "approver": payload.approver,
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).digest()
