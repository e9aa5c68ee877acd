"""The activities of queue placet-default: each is DTO → request → one RPC → DTO."""

from __future__ import annotations

from temporalio import activity

from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_pb2, notification_service_pb2
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_domain.events import LogEntry, State, Withheld
from placet_mapping import from_proto, to_proto
from placet_mapping.assessments import assess_request, assess_result
from placet_rpc.errors import FailedPrecondition
from placet_temporal.calls import one_call
from placet_workflows.activity_types import (
    AppendInput,
    AppendResult,
    AssessInput,
    AssessResult,
    NotifyInput,
    NotifyResult,
)
from placet_workflows.names import Activity

# Seconds that one call waits for the service's attempt; the next call joins an attempt under way.
ATTEMPT_SECONDS = 10.0


class DefaultActivities:
    """Holds the stubs that the activities call."""

    def __init__(
        self,
        audit: AuditServiceStub,
        decision: DecisionServiceStub,
        notification: NotificationServiceStub,
    ) -> None:
        self._audit = audit
        self._decision = decision
        self._notification = notification

    @activity.defn(name=Activity.APPEND_EVENTS)
    async def append_events(self, step: AppendInput) -> AppendResult:
        """AuditService.AppendEvents: the commit point of every step."""
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=step.approval_id,
            expected_next=step.expected_next,
            events=[to_proto(event, event_pb2.Event) for event in step.events],
        )
        with one_call(step.tenant) as timeout:
            response = await self._audit.AppendEvents(request, timeout=timeout)
        if response.HasField("withheld"):
            return AppendResult(appended=False, withheld=from_proto(response.withheld, Withheld))
        if response.appended:
            return AppendResult(appended=True, indexes=tuple(entry.index for entry in response.entries))
        entries = tuple(from_proto(entry, LogEntry) for entry in response.entries)
        return AppendResult(appended=False, entries=entries)

    @activity.defn(name=Activity.ASSESS_RISK)
    async def assess_risk(self, step: AssessInput) -> AssessResult:
        """DecisionService.AssessRisk, quick."""
        with one_call(step.tenant) as timeout:
            return assess_result(await self._decision.AssessRisk(assess_request(step), timeout=timeout))

    @activity.defn(name=Activity.NOTIFY)
    async def notify(self, step: NotifyInput) -> NotifyResult:
        """NotificationService.SendNotification: one attempt, short within a workflow task."""
        request = _notification(step)
        with one_call(step.tenant) as limit:
            try:
                # The attempt goes on there after this call stops waiting: the next call gets its result, and
                # no mail is sent twice.
                response = await self._notification.SendNotification(
                    request, timeout=min(limit, ATTEMPT_SECONDS)
                )
            except FailedPrecondition as refused:
                # The channel refuses this recipient for good: a result, because a retry cannot help.
                metadata = refused.metadata
                return NotifyResult(
                    notification_id=metadata.get("notification_id", ""),
                    delivered=False,
                    channel=metadata.get("channel", ""),
                )
        delivery = response.delivery
        channel = notification_pb2.Channel.Name(delivery.channel).removeprefix("CHANNEL_").lower()
        return NotifyResult(
            notification_id=delivery.notification.notification_id, delivered=True, channel=channel
        )


def _notification(step: NotifyInput) -> notification_service_pb2.SendNotificationRequest:
    outcome = step.state is not State.UNSPECIFIED
    kinds = notification_pb2.NotificationKind
    request = notification_service_pb2.SendNotificationRequest(
        idempotency_key=step.idempotency_key,
        kind=kinds.NOTIFICATION_KIND_OUTCOME if outcome else kinds.NOTIFICATION_KIND_ASKED,
        approval_id=step.approval_id,
        content_digest=bytes.fromhex(step.content_digest),
        recipient=step.recipient,
        title=step.title,
        subject_id=step.subject_id,
        reason=step.reason,
        tier=step.tier,
        state=event_pb2.State.Value(f"STATE_{step.state}"),
        approver=step.approver,
    )
    if step.due_time is not None:
        request.due_time.FromDatetime(step.due_time)
    return request
