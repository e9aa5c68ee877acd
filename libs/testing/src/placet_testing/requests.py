"""Messages that tests send: requests and decisions that are in order, but for what a test changes."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_domain.events import Actor, ActorKind, Event, Notified
from placet_domain.policy_files import load
from placet_domain.state import ApprovalState

_POLICIES = load(None)
# The content of a payment, and its digest.
PAYMENT = b"Pay 4,711 EUR to Example Ltd.\n"
PAYMENT_DIGEST = hashlib.sha256(PAYMENT).digest()


def request_message(
    policy: str, required_approver: str, manager_approver: str = "", **fields: Any
) -> approval_service_pb2.RequestApprovalRequest:
    """A request of kind APPROVAL. The manager is named only where the policy asks one."""
    values: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "title": "Release the payment",
        "approval": approval_service_pb2.ApprovalPayload(),
        "policy": policy,
        "assignments": _assignments(policy, required_approver, manager_approver),
    }
    return approval_service_pb2.RequestApprovalRequest(**(values | fields))


def _assignments(policy: str, required: str, manager: str) -> list[approval_pb2.Assignment]:
    known = _POLICIES.get(policy)
    slots = known.slots if known is not None else ("required_approver",)
    people = {"required_approver": required, "manager_approver": manager}
    return [approval_pb2.Assignment(slot=slot, people=[people[slot]]) for slot in slots if people[slot]]


def decision_message(
    approval_id: str, verdict: event_pb2.Verdict.ValueType = event_pb2.VERDICT_APPROVE, **fields: Any
) -> approval_service_pb2.SubmitDecisionRequest:
    """A decision with an id of its own."""
    values: dict[str, Any] = {
        "approval_id": approval_id,
        "command_id": str(uuid.uuid4()),
        "approval": approval_service_pb2.ApprovalAnswer(verdict=verdict),
        "reason": "fine",
    }
    return approval_service_pb2.SubmitDecisionRequest(**(values | fields))


def asking(
    policy: str = "simple",
    required_approver: str = "alice@example.com",
    manager_approver: str = "bob@example.com",
    **fields: Any,
) -> approval_service_pb2.RequestApprovalRequest:
    """A request for a payment."""
    content = approval_pb2.Content(body=PAYMENT, media_type="text/plain")
    return request_message(policy, required_approver, manager_approver, **({"content": content} | fields))


def deciding(approval_id: str, **fields: Any) -> approval_service_pb2.SubmitDecisionRequest:
    """An approval of that payment."""
    return decision_message(approval_id, **({"content_digest": PAYMENT_DIGEST} | fields))


def delivered_notices(state: ApprovalState) -> list[Event]:
    """The events that say that everyone of the open tier was told."""
    assert state.open_tier is not None
    service = Actor(kind=ActorKind.SERVICE, name="notification")
    return [
        Event(
            time=datetime.now(UTC),
            actor=service,
            cause_id=f"tier-{state.open_tier.tier}",
            body=Notified(
                notification_id=str(uuid.uuid4()), delivered=True, channel="email", asked_number=one.number
            ),
        )
        for one in state.open_tier.assignments
    ]
