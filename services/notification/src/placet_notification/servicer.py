"""The RPCs of NotificationService: pb2 ↔ domain, and the part of the stream that each caller sees."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_pb2 as pb
from placet.notification.v1 import notification_service_pb2 as service_pb
from placet.notification.v1 import notification_service_pb2_grpc as service_grpc
from placet.rpc.v1 import access_pb2
from placet_logtail import LiveStream
from placet_notification import domain
from placet_notification.sender import Sender
from placet_notification.store import Store
from placet_rpc import deadlines, identity
from placet_rpc.errors import FieldViolation, InvalidArgument, PermissionDenied
from placet_rpc.paging import Listing, capped, number

_LIST_DELIVERIES = "placet.notification.v1.NotificationService/ListDeliveries"
_DEFAULT_PAGE = 50
_MOST_ON_A_PAGE = 500
# For calls without a deadline, which placet_rpc's clients never make.
_LONGEST_WAIT_SECONDS = 300.0

_KINDS = {
    pb.NOTIFICATION_KIND_ASKED: domain.Kind.ASKED,
    pb.NOTIFICATION_KIND_OUTCOME: domain.Kind.OUTCOME,
    pb.NOTIFICATION_KIND_ALARM: domain.Kind.ALARM,
}
_CHANNELS = {
    domain.Channel.EMAIL: pb.CHANNEL_EMAIL,
    domain.Channel.LOG: pb.CHANNEL_LOG,
}
_STATUSES = {
    domain.Status.PENDING: pb.DELIVERY_STATUS_PENDING,
    domain.Status.DELIVERED: pb.DELIVERY_STATUS_DELIVERED,
    domain.Status.FAILED: pb.DELIVERY_STATUS_FAILED,
}
_STATES = {
    event_pb2.STATE_APPROVED: domain.State.APPROVED,
    event_pb2.STATE_REJECTED: domain.State.REJECTED,
    event_pb2.STATE_CANCELLED: domain.State.CANCELLED,
    event_pb2.STATE_ANSWERED: domain.State.ANSWERED,
}
SENDERS = {
    value.number: frozenset(map(identity.program_name, value.GetOptions().Extensions[access_pb2.sent_by]))
    for value in pb.NotificationKind.DESCRIPTOR.values
}
"""Programs that may send each kind, as the contract names them."""

_KINDS_OUT = {kind: number for number, kind in _KINDS.items()}
_STATES_OUT = {state: number for number, state in _STATES.items()}


class NotificationServicer(service_grpc.NotificationServiceServicer):
    """The RPCs of NotificationService."""

    def __init__(self, store: Store, sender: Sender, stream: LiveStream[domain.Notification]) -> None:
        self._store = store
        self._sender = sender
        self._stream = stream

    async def SendNotification(
        self,
        request: service_pb.SendNotificationRequest,
        context: object,
    ) -> service_pb.SendNotificationResponse:
        """Makes or joins an attempt, and waits for it until shortly before the call's deadline."""
        caller = identity.current()
        check_kind(caller, request.kind)
        delivery = await self._sender.send(
            caller.tenant,
            caller.own_key(request.idempotency_key),
            domain.checked(_payload(request)),
            within=deadlines.outgoing_timeout(_LONGEST_WAIT_SECONDS),
        )
        return service_pb.SendNotificationResponse(delivery=_delivery(delivery))

    async def GetDelivery(
        self,
        request: service_pb.GetDeliveryRequest,
        context: object,
    ) -> service_pb.GetDeliveryResponse:
        """One delivery of the caller's tenant."""
        delivery = await self._store.get(identity.current().tenant, request.notification_id)
        return service_pb.GetDeliveryResponse(delivery=_delivery(delivery))

    async def ListDeliveries(
        self,
        request: service_pb.ListDeliveriesRequest,
        context: object,
    ) -> service_pb.ListDeliveriesResponse:
        """A page, newest first. One row more is read, to know if another page follows."""
        tenant = identity.current().tenant
        approval_id = request.filter.approval_id
        before = None
        listing = Listing(_LIST_DELIVERIES, tenant, approval_id=approval_id)
        if request.page_token:
            before = listing.position(request.page_token, number)
        size = capped(request.page_size, _DEFAULT_PAGE, _MOST_ON_A_PAGE)
        found = await self._store.newest(
            tenant, approval_id=approval_id or None, before=before, limit=size + 1
        )
        page = found[:size]
        token = ""
        if len(found) > size:
            token = listing.token(str(page[-1].notification.cursor))
        return service_pb.ListDeliveriesResponse(
            deliveries=[_delivery(delivery) for delivery in page], next_page_token=token
        )

    async def Subscribe(
        self,
        request: service_pb.SubscribeRequest,
        context: object,
    ) -> AsyncIterator[service_pb.SubscribeResponse]:
        """History from the cursor on, then live."""
        principal = identity.current()
        tenant = principal.tenant
        recipient = None if principal.sees_all else principal.subject
        start = max(request.from_cursor, 1) if request.HasField("from_cursor") else None
        follower = self._stream.follow(
            tenant, start, lambda cursor: self._store.read(tenant, cursor, recipient)
        )
        async with aclosing(follower) as batches:
            async for batch in batches:
                for notification in batch.items:
                    yield service_pb.SubscribeResponse(
                        notification=_notification(notification), next_cursor=notification.cursor + 1
                    )
                if not batch.items:
                    yield service_pb.SubscribeResponse(next_cursor=batch.next)


def check_kind(caller: identity.Principal, kind: pb.NotificationKind.ValueType) -> None:
    """Raises PermissionDenied unless the contract names the calling program for the kind."""
    if caller.program not in SENDERS[kind]:
        name = pb.NotificationKind.Name(kind).removeprefix("NOTIFICATION_KIND_")
        raise PermissionDenied(
            f"a notification of kind {name} is not for program {caller.program} to send",
            reason="KIND_REFUSED",
            metadata={"kind": name, "program": caller.program},
        )


def _payload(request: service_pb.SendNotificationRequest) -> domain.Payload:
    return domain.Payload(
        kind=_KINDS[request.kind],
        approval_id=request.approval_id,
        content_digest=request.content_digest,
        recipient=request.recipient,
        title=request.title,
        subject_id=request.subject_id,
        reason=request.reason,
        tier=request.tier,
        due=_due(request.due_time) if request.HasField("due_time") else None,
        state=_STATES.get(request.state),
        approver=request.approver,
    )


def _due(timestamp: Timestamp) -> datetime:
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            "due_time is not a valid time",
            violations=[FieldViolation("due_time", "must lie in the years 1 to 9999")],
        ) from None


def _delivery(delivery: domain.Delivery) -> pb.Delivery:
    return pb.Delivery(
        notification=_notification(delivery.notification),
        channel=_CHANNELS[delivery.channel],
        status=_STATUSES[delivery.status],
        attempts=delivery.attempts,
        detail=delivery.detail,
        deliver_time=_timestamp(delivery.deliver_time),
    )


def _notification(notification: domain.Notification) -> pb.Notification:
    payload = notification.payload
    return pb.Notification(
        notification_id=notification.id,
        cursor=notification.cursor,
        kind=_KINDS_OUT[payload.kind],
        approval_id=payload.approval_id,
        subject_id=payload.subject_id,
        title=payload.title,
        recipient=payload.recipient,
        reason=payload.reason,
        tier=payload.tier,
        due_time=_timestamp(payload.due),
        state=event_pb2.STATE_UNSPECIFIED if payload.state is None else _STATES_OUT[payload.state],
        approver=payload.approver,
        create_time=_timestamp(notification.create_time),
        content_digest=payload.content_digest,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
