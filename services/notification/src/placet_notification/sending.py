"""One attempt to tell somebody something, such that the same key never tells twice what is known to be told.

The order is: claim the delivery (a committed row with a lease), hand it to the channel, record the answer.
A crash between the channel's yes and the record of it lets the next attempt send again: delivery is at
least once, and a mail's Message-ID is derived from tenant and key, so that the second is recognisable.

An attempt has its own time, whatever its caller's: a conversation that is broken off because its caller is
in a hurry may be one whose mail was just taken. A caller whose time runs out is told so, and its next call
joins the attempt that is still under way.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from placet_notification.channels import ChannelUnavailable, DeliveryChannel, RecipientRefused
from placet_notification.content import ContentSource, ContentUnavailable
from placet_notification.domain import Channel, Content, Delivery, Kind, Payload, Status
from placet_notification.store import Lease, Store
from placet_rpc import calls, deadlines
from placet_rpc.errors import FailedPrecondition, ResourceExhausted, Unavailable
from placet_rpc.tasks import SingleFlight
from placet_storage import DatabaseUnavailable

# How much longer than its attempt a lease lasts: time to record the result, and for clocks that disagree.
LEASE_MARGIN = timedelta(seconds=3)
# How often a call looks whether another attempt for the same key has ended.
_LOOK_AGAIN_SECONDS = 0.1
# How long after the database was away the channel's yes is recorded again.
_RECORD_AGAIN_SECONDS = 0.2
_MISTAKE = "the attempt failed within NotificationService, whose log says how"


@dataclass(frozen=True)
class _Turn:
    """What a call asks for: a lease, and on the loop's clock until when its attempt may hand over, and when
    the lease is over. All count from before the claim, which may itself take seconds."""

    lease: Lease
    deadline: float
    ends: float


class Sender:
    """Makes attempts; each runs to its end even when the caller hangs up, so that its result is recorded.

    All calls for one notification in this process share one attempt. Between processes the lease in the
    database lets one attempt run; the others look again until it has ended.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[Channel, DeliveryChannel],
        contents: ContentSource,
        on_created: Callable[[str], None],
        *,
        attempt_seconds: float = 10,
        max_attempts: int = 1000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_created` is called with the tenant when a notification has been added to its stream.

        `max_attempts`: how many may be under way at once, for they outlive callers who are in a hurry.
        """
        self._store = store
        self._channels = channels
        self._contents = contents
        self._on_created = on_created
        self._attempt_seconds = attempt_seconds
        self._max_attempts = max_attempts
        self._clock = clock
        self._closing = False
        self._attempts: SingleFlight[tuple[str, str, Payload], Delivery] = SingleFlight()

    async def send(self, tenant: str, key: str, payload: Payload, *, within: float) -> Delivery:
        """The DELIVERED delivery, by one attempt or by an earlier one; waits for `within` seconds at most.

        Raises AlreadyExists ID_REUSED, FailedPrecondition RECIPIENT_REFUSED, Unavailable CHANNEL_UNAVAILABLE
        or CONTENT_UNAVAILABLE or STOPPING, ResourceExhausted when too many attempts are under way.
        """
        call = (tenant, key, payload)
        if call not in self._attempts and len(self._attempts) >= self._max_attempts:
            raise ResourceExhausted(
                "Too many notifications are being handed over; send the same again later."
            )
        attempt = self._attempts.join(call, lambda: self._send(*call))
        await asyncio.wait([attempt], timeout=within)
        if not attempt.done():
            raise _unavailable(payload.channel, "the attempt is still under way")
        return attempt.result()

    async def close(self) -> None:
        """Waits until the attempts that are under way have been recorded; each is bounded by its time.

        Calls that wait for another replica's attempt end, so that none of them begins one so late that its
        process is killed in the midst of a mail.
        """
        self._closing = True
        await self._attempts.drain()

    async def _send(self, tenant: str, key: str, payload: Payload) -> Delivery:
        turn = self._turn()
        claim = await self._store.claim(tenant, key, payload, turn.lease)
        if claim.created:
            self._on_created(tenant)
        # Longer than any lease lasts.
        patience = turn.ends + _LOOK_AGAIN_SECONDS
        while not claim.granted:
            if claim.delivery.status is not Status.PENDING:
                return _settled(claim.delivery)
            # Another replica's attempt, or one whose process is gone and whose lease runs out.
            if _left(patience) == 0:
                raise _unavailable(payload.channel, "another attempt for the same notification is under way")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            if self._closing or calls.stopping().is_set():
                raise calls.stopping_error()
            turn = self._turn()
            claim = await self._store.take_turn(tenant, key, payload, turn.lease)
        return await self._attempt(tenant, claim.delivery, turn)

    def _turn(self) -> _Turn:
        # The loop's clock first: on it the turn must not be over later than by the database's lease.
        deadline = asyncio.get_running_loop().time() + self._attempt_seconds
        now = self._clock()
        lease_ends = now + timedelta(seconds=self._attempt_seconds) + LEASE_MARGIN
        lease = Lease(uuid.uuid4().hex, begins=now, ends=lease_ends)
        return _Turn(lease, deadline, ends=deadline + LEASE_MARGIN.total_seconds())

    async def _attempt(self, tenant: str, delivery: Delivery, turn: _Turn) -> Delivery:
        id = delivery.notification.id
        try:
            await self._hand_over(tenant, delivery, turn.deadline)
        except RecipientRefused as refusal:
            settled = await self._store.refused(tenant, id, lease=turn.lease, detail=str(refusal))
            return _settled(settled)
        except ContentUnavailable as error:
            await self._store.not_taken(tenant, id, lease=turn.lease, detail=str(error))
            raise Unavailable(
                f"the content that is to be decided cannot be had: {error}",
                reason="CONTENT_UNAVAILABLE",
                metadata={"approval_id": delivery.notification.payload.approval_id},
            ) from error
        except ChannelUnavailable as error:
            await self._store.not_taken(tenant, id, lease=turn.lease, detail=str(error))
            raise _unavailable(delivery.channel, str(error)) from error
        except Exception:
            # A mistake of ours, of which the caller and the log hear; the next attempt need not wait for it.
            await self._store.not_taken(tenant, id, lease=turn.lease, detail=_MISTAKE)
            raise
        return await self._recorded(tenant, delivery, turn)

    async def _hand_over(self, tenant: str, delivery: Delivery, deadline: float) -> None:
        if _left(deadline) == 0:
            raise ChannelUnavailable("the database took all of the attempt's time")
        # In place of the caller's deadline, for the calls that this attempt makes.
        deadlines.enter(_left(deadline))
        await self._channels[delivery.channel].deliver(
            tenant,
            delivery.notification,
            partial(self._content, tenant, delivery.notification.payload, deadline),
            within=_left(deadline),
        )

    async def _recorded(self, tenant: str, delivery: Delivery, turn: _Turn) -> Delivery:
        """Tried while nobody else may try the delivery: what is not recorded is sent again."""
        while True:
            try:
                return _settled(await self._store.delivered(tenant, delivery, now=self._clock()))
            except DatabaseUnavailable:
                if _left(turn.ends) < _RECORD_AGAIN_SECONDS:
                    raise
            await asyncio.sleep(_RECORD_AGAIN_SECONDS)

    async def _content(self, tenant: str, payload: Payload, deadline: float) -> Content | None:
        if payload.kind is not Kind.ASKED:
            return None
        # The other half of the time that is left is the channel's.
        within = _left(deadline) / 2
        return await self._contents.fetch(tenant, payload.approval_id, payload.content_digest, within=within)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


def _settled(delivery: Delivery) -> Delivery:
    """The delivery if the channel took it, else why not."""
    if delivery.status is Status.DELIVERED:
        return delivery
    if delivery.status is Status.PENDING:
        raise _unavailable(delivery.channel, "the attempt took so long that another one has begun")
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


def _unavailable(channel: Channel, why: str) -> Unavailable:
    return Unavailable(
        f"the notification could not be handed over by {channel.lower()}: {why}; the same call again "
        "converges",
        reason="CHANNEL_UNAVAILABLE",
        metadata={"channel": channel.lower()},
    )
