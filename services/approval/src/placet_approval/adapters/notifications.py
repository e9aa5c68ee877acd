"""Client of NotificationService: sends alarms to operators."""

from __future__ import annotations

from placet.notification.v1 import notification_pb2, notification_service_pb2
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_rpc.identity import acting_for


class Notifications:
    """Calls NotificationService. Raises placet_rpc's typed errors; Unavailable while nothing can be sent."""

    def __init__(self, stub: NotificationServiceStub) -> None:
        self._stub = stub

    async def send_alarm(
        self, tenant: str, idempotency_key: str, recipient: str, *, title: str, reason: str, subject_id: str
    ) -> None:
        """Notifies an operator of an alarm, once per idempotency key."""
        request = notification_service_pb2.SendNotificationRequest(
            idempotency_key=idempotency_key,
            kind=notification_pb2.NOTIFICATION_KIND_ALARM,
            recipient=recipient,
            title=title,
            reason=reason,
            subject_id=subject_id,
        )
        with acting_for(tenant):
            await self._stub.SendNotification(request)
