"""Attempts to deliver a notification: one at a time for each idempotency key.

An attempt claims the delivery (a committed row with a lease), hands it to the channel, and records the
result. A crash between the channel's acceptance and its record lets the next attempt send again: delivery is
at least once, and a mail's Message-ID is derived from tenant and key, so that the second is recognisable.

An attempt has a deadline of its own, whatever its caller's: a conversation broken off for a caller's deadline
may be one whose mail was just taken. A caller that stops waiting gets UNAVAILABLE, and its next call joins
the attempt that is still under way.
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

# A lease outlasts its attempt by this: time to record the result, and for clocks that disagree.
LEASE_MARGIN = timedelta(seconds=3)
# Pause between looks at an attempt of another process.
_POLL_SECONDS = 0.1
# Pause before the channel's acceptance is recorded again after the database was away.
_RECORD_AGAIN_SECONDS = 0.2
_INTERNAL = "the attempt failed within NotificationService; see its log"


@dataclass(frozen=True)
class _Attempt:
    """An attempt's lease; on the loop's clock, the deadline of the hand-over and the end of the lease.

    All count from before the claim, which may itself take seconds.
    """

    lease: Lease
    deadline: float
    ends: float


class Sender:
    """Makes attempts; each runs to its end even if the caller hangs up, so that its result is recorded.

    All calls for one notification in this process share one attempt. Between processes the lease in the
    database lets one attempt run; the others poll until it has ended.
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

        `max_attempts` limits the attempts under way, which outlive impatient callers.
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
        """Returns the DELIVERED delivery, by this attempt or an earlier one; waits `within` seconds at most.

        Raises AlreadyExists ID_REUSED, FailedPrecondition RECIPIENT_REFUSED, Unavailable CHANNEL_UNAVAILABLE
        or CONTENT_UNAVAILABLE or STOPPING, ResourceExhausted when too many attempts are under way.
        """
        call = (tenant, key, payload)
        if call not in self._attempts and len(self._attempts) >= self._max_attempts:
            raise ResourceExhausted("too many notifications are being delivered; send the same again later")
        attempt = self._attempts.join(call, lambda: self._send(*call))
        await asyncio.wait([attempt], timeout=within)
        if not attempt.done():
            raise _unavailable(payload.channel, "the attempt is still under way")
        return attempt.result()

    async def close(self) -> None:
        """Waits until the attempts under way have been recorded; each is bounded by its deadline.

        Calls that wait for another replica's attempt end, so that none begins an attempt so late that its
        process is killed in the midst of a mail.
        """
        self._closing = True
        await self._attempts.drain()

    async def _send(self, tenant: str, key: str, payload: Payload) -> Delivery:
        attempt = self._new_attempt()
        claim = await self._store.claim(tenant, key, payload, attempt.lease)
        if claim.created:
            self._on_created(tenant)
        # No lease lasts longer.
        patience = attempt.ends + _POLL_SECONDS
        while not claim.granted:
            if claim.delivery.status is not Status.PENDING:
                return _settled(claim.delivery)
            # Another replica's attempt, or that of a dead process, whose lease ends.
            if _left(patience) == 0:
                raise _unavailable(payload.channel, "another attempt for the same notification is under way")
            await asyncio.sleep(_POLL_SECONDS)
            if self._closing or calls.stopping().is_set():
                raise calls.stopping_error()
            attempt = self._new_attempt()
            claim = await self._store.take_lease(tenant, key, payload, attempt.lease)
        return await self._run(tenant, claim.delivery, attempt)

    def _new_attempt(self) -> _Attempt:
        # The loop's clock is read first, so that on it the lease never ends later than in the database.
        deadline = asyncio.get_running_loop().time() + self._attempt_seconds
        now = self._clock()
        lease_ends = now + timedelta(seconds=self._attempt_seconds) + LEASE_MARGIN
        lease = Lease(uuid.uuid4().hex, begins=now, ends=lease_ends)
        return _Attempt(lease, deadline, ends=deadline + LEASE_MARGIN.total_seconds())

    async def _run(self, tenant: str, delivery: Delivery, attempt: _Attempt) -> Delivery:
        id = delivery.notification.id
        try:
            await self._hand_over(tenant, delivery, attempt.deadline)
        except RecipientRefused as refusal:
            settled = await self._store.refused(tenant, id, lease=attempt.lease, detail=str(refusal))
            return _settled(settled)
        except ContentUnavailable as error:
            await self._store.not_taken(tenant, id, lease=attempt.lease, detail=str(error))
            raise Unavailable(
                f"the content to be decided is not available: {error}; send the same again later",
                reason="CONTENT_UNAVAILABLE",
                metadata={"approval_id": delivery.notification.payload.approval_id},
            ) from error
        except ChannelUnavailable as error:
            await self._store.not_taken(tenant, id, lease=attempt.lease, detail=str(error))
            raise _unavailable(delivery.channel, str(error)) from error
        except Exception:
            # A bug. The caller and the log get the error; the next attempt need not wait for this lease.
            await self._store.not_taken(tenant, id, lease=attempt.lease, detail=_INTERNAL)
            raise
        return await self._recorded(tenant, delivery, attempt)

    async def _hand_over(self, tenant: str, delivery: Delivery, deadline: float) -> None:
        if _left(deadline) == 0:
            raise ChannelUnavailable("the database took all of the attempt's time")
        # Replaces the caller's deadline for the calls that this attempt makes.
        deadlines.enter(_left(deadline))
        await self._channels[delivery.channel].deliver(
            tenant,
            delivery.notification,
            partial(self._content, tenant, delivery.notification.payload, deadline),
            within=_left(deadline),
        )

    async def _recorded(self, tenant: str, delivery: Delivery, attempt: _Attempt) -> Delivery:
        """Records the acceptance, again until the lease ends: what is not recorded is sent twice."""
        while True:
            try:
                return _settled(await self._store.delivered(tenant, delivery, now=self._clock()))
            except DatabaseUnavailable:
                if _left(attempt.ends) < _RECORD_AGAIN_SECONDS:
                    raise
            await asyncio.sleep(_RECORD_AGAIN_SECONDS)

    async def _content(self, tenant: str, payload: Payload, deadline: float) -> Content | None:
        if payload.kind is not Kind.ASKED:
            return None
        # The channel needs the other half of the remaining time.
        within = _left(deadline) / 2
        return await self._contents.fetch(tenant, payload.approval_id, payload.content_digest, within=within)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())


def _settled(delivery: Delivery) -> Delivery:
    """Returns a DELIVERED delivery; raises the error of any other."""
    if delivery.status is Status.DELIVERED:
        return delivery
    if delivery.status is Status.PENDING:
        raise _unavailable(delivery.channel, "the attempt outlasted its lease, and another one began")
    raise FailedPrecondition(
        f"{delivery.notification.payload.recipient} cannot be reached by {delivery.channel.lower()}: "
        f"{delivery.detail}",
        reason="RECIPIENT_REFUSED",
        metadata={
            "channel": delivery.channel.lower(),
            "code": delivery.detail.split(" ", 1)[0],
            "notification_id": delivery.notification.id,
        },
    )


def _unavailable(channel: Channel, why: str) -> Unavailable:
    return Unavailable(
        f"the notification could not be delivered by {channel.lower()}: {why}; send the same again later",
        reason="CHANNEL_UNAVAILABLE",
        metadata={"channel": channel.lower()},
    )
