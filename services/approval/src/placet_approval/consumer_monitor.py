"""The monitor of the log's consumers: health and mail say that one is stuck, or had to skip entries."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable

from placet_approval.adapters.notifications import Notifications
from placet_logtail import Consumers, SkippedEntries, TailStatus
from placet_rpc.errors import FailedPrecondition, InvalidArgument

_LOG = logging.getLogger(__name__)

# Seconds between looks at the consumers.
CHECK_SECONDS = 5.0
# Seconds for which a consumer is stuck before operators are told: an outage that passes is no alarm.
STUCK_SECONDS = 300.0
# Skipped entries of a consumer that operators are told of one by one; `placet doctor` lists the others.
MOST_TOLD = 10


class ConsumerMonitor:
    """Watches the consumers of this process.

    Each alarm has an idempotency key: it is sent once for an entry and recipient, whatever restarts, and
    however many replicas see the same.
    """

    def __init__(
        self,
        consumers: Consumers,
        skipped: SkippedEntries,
        notifications: Notifications,
        recipients: Iterable[str],
    ) -> None:
        self._consumers = consumers
        self._skipped = skipped
        self._notifications = notifications
        self._recipients = tuple(recipients)
        # By consumer and tenant: where it is stuck, and since when by the monotonic clock.
        self._stuck: dict[tuple[str, str], tuple[int, float]] = {}
        self._told: set[tuple[str, str, int]] = set()
        self._faulty: frozenset[str] = frozenset()

    def follows(self, consumer: str) -> bool:
        """False while a consumer of this name is stuck, or has skipped entries, for some tenant."""
        return consumer not in self._faulty

    async def run(self) -> None:
        """Looks at all consumers once. Raises Unavailable while operators cannot be told."""
        faulty: set[str] = set()
        alarms: list[tuple[TailStatus, int, str]] = []
        for status in self._consumers.statuses():
            skipped = await self._skipped.of(status.tenant, status.consumer, MOST_TOLD)
            if status.broken or skipped:
                faulty.add(status.consumer)
            alarms += [(status, index, f"It skipped the entry: {reason}") for index, reason in skipped]
            if self._stuck_long(status):
                alarms.append((status, status.position, f"It cannot go on: {status.broken}"))
        self._faulty = frozenset(faulty)
        for status, index, reason in alarms:
            await self._tell(status, index, reason)

    def _stuck_long(self, status: TailStatus) -> bool:
        of = (status.consumer, status.tenant)
        if not status.broken:
            self._stuck.pop(of, None)
            return False
        position, since = self._stuck.setdefault(of, (status.position, time.monotonic()))
        if position != status.position:
            position, since = self._stuck[of] = status.position, time.monotonic()
        return time.monotonic() - since >= STUCK_SECONDS

    async def _tell(self, status: TailStatus, index: int, reason: str) -> None:
        alarm = (status.consumer, status.tenant, index)
        if alarm in self._told:
            return
        title = f"The {status.consumer} of {status.tenant} does not follow the log at entry {index}"
        for recipient in self._recipients:
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{' '.join(map(str, alarm))} {recipient}"))
            try:
                await self._notifications.send_alarm(
                    status.tenant, key, recipient, title=title, reason=reason[:1000], subject_id=str(index)
                )
            except (FailedPrecondition, InvalidArgument) as error:
                _LOG.error("%s cannot be notified of an alarm: %s", recipient, error)
        self._told.add(alarm)
