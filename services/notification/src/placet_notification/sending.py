"""One attempt to tell somebody something, such that the same key never tells twice what is known to be told.

The order is: claim the delivery (a committed row with a lease), hand it to the channel, record the answer.
A crash between the channel's yes and the record of it lets the next attempt send again: delivery is at
least once, and a mail's Message-ID is derived from tenant and key, so that the second is recognisable.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta

from placet_notification.channels import ChannelUnavailable, DeliveryChannel, RecipientRefused
from placet_notification.content import ContentSource, ContentUnavailable
from placet_notification.domain import Channel, Content, Delivery, Kind, Payload, Status
from placet_notification.store import Lease, Store
from placet_rpc.errors import FailedPrecondition, PlacetError, Unavailable
from placet_telemetry import log

_LOG = log(__name__)

# How much longer than its attempt a lease lasts: time to record the result, and for clocks that disagree.
LEASE_MARGIN = timedelta(seconds=3)
# How often a call looks whether another attempt for the same key has ended.
_LOOK_AGAIN_SECONDS = 0.1


class Sender:
    """Makes attempts; each runs to its end even when the caller hangs up, so that its result is recorded."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[Channel, DeliveryChannel],
        contents: ContentSource,
        on_created: Callable[[str], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_created` is called with the tenant when a notification has been added to its stream."""
        self._store = store
        self._channels = channels
        self._contents = contents
        self._on_created = on_created
        self._clock = clock
        self._running: set[asyncio.Task[Delivery]] = set()

    async def send(self, tenant: str, key: str, payload: Payload, *, within: float) -> Delivery:
        """The DELIVERED delivery, by one attempt of at most `within` seconds or by an earlier one.

        Raises AlreadyExists ID_REUSED, FailedPrecondition RECIPIENT_REFUSED, Unavailable CHANNEL_UNAVAILABLE
        or CONTENT_UNAVAILABLE.
        """
        return await self._uninterrupted(self._send(tenant, key, payload, within))

    async def close(self) -> None:
        """Waits until the attempts that are under way have been recorded; each is bounded by its `within`."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _uninterrupted(self, attempt: Coroutine[None, None, Delivery]) -> Delivery:
        task = asyncio.create_task(attempt)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Delivery]) -> None:
        self._running.discard(task)
        # Reading the exception also tells asyncio that it was seen, in case that the caller is gone.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, PlacetError):
            _LOG.warning("attempt failed", error=repr(error))

    async def _send(self, tenant: str, key: str, payload: Payload, within: float) -> Delivery:
        deadline = asyncio.get_running_loop().time() + within
        attempt = uuid.uuid4().hex
        while True:
            left = deadline - asyncio.get_running_loop().time()
            now = self._clock()
            lease = Lease(attempt, begins=now, ends=now + timedelta(seconds=left) + LEASE_MARGIN)
            claim = await self._store.claim(tenant, key, payload, lease)
            if claim.created:
                self._on_created(tenant)
            if claim.granted:
                return await self._attempt(tenant, claim.delivery, lease, deadline)
            if claim.delivery.status is not Status.PENDING:
                return _settled(claim.delivery)
            if left <= _LOOK_AGAIN_SECONDS:
                raise _unavailable(claim.delivery, "another attempt for the same notification is under way")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _attempt(self, tenant: str, delivery: Delivery, lease: Lease, deadline: float) -> Delivery:
        id = delivery.notification.id
        channel = self._channels[delivery.channel]
        try:
            content = await self._content(tenant, delivery, channel, deadline)
            await channel.deliver(delivery.notification, content, within=_left(deadline))
        except RecipientRefused as refusal:
            settled = await self._store.refused(tenant, id, lease=lease, detail=str(refusal))
            return _settled(settled)
        except ContentUnavailable as error:
            await self._store.not_taken(tenant, id, lease=lease, detail=str(error))
            raise Unavailable(
                f"the content that is to be decided cannot be had: {error}",
                reason="CONTENT_UNAVAILABLE",
                metadata={"approval_id": delivery.notification.payload.approval_id},
            ) from error
        except ChannelUnavailable as error:
            await self._store.not_taken(tenant, id, lease=lease, detail=str(error))
            raise _unavailable(delivery, str(error)) from error
        return await self._store.delivered(tenant, id, now=self._clock())

    async def _content(
        self, tenant: str, delivery: Delivery, channel: DeliveryChannel, deadline: float
    ) -> Content | None:
        payload = delivery.notification.payload
        if payload.kind is not Kind.ASKED or not channel.shows_content:
            return None
        return await self._contents.fetch(
            tenant, payload.approval_id, payload.content_digest, within=_left(deadline)
        )


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


def _settled(delivery: Delivery) -> Delivery:
    """The delivery if the channel took it, else why not."""
    if delivery.status is Status.DELIVERED:
        return delivery
    if delivery.status is Status.PENDING:
        raise _unavailable(delivery, "the attempt took so long that another one has begun")
    raise FailedPrecondition(
        f"{delivery.notification.payload.recipient} cannot be reached by {delivery.channel.lower()}: "
        f"{delivery.detail}",
        reason="RECIPIENT_REFUSED",
        metadata={
            "channel": delivery.channel.lower(),
            "code": delivery.detail.split(" ", 1)[0],
            "id": delivery.notification.id,
        },
    )


def _unavailable(delivery: Delivery, why: str) -> Unavailable:
    channel = delivery.channel.lower()
    return Unavailable(
        f"the notification could not be handed over by {channel}: {why}; the same call again converges",
        reason="CHANNEL_UNAVAILABLE",
        metadata={"channel": channel},
    )
