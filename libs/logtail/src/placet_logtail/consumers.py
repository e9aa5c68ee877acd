"""The tailers of this process, and the election of those that lead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.metrics import Observation, get_meter

from placet_logtail.outage import Outage
from placet_logtail.store import LeaseStore
from placet_logtail.tailer import LogTailer, TailStatus
from placet_logtail.wakeup import wait_for
from placet_storage import DatabaseUnavailable

_LOG = logging.getLogger(__name__)

# Failover time: LEASE + RENEWAL_SECONDS.
LEASE = timedelta(seconds=4)
RENEWAL_SECONDS = 1.0


class Consumers:
    """Runs tailers. Of all processes that share the leases, one leads for each consumer and tenant."""

    def __init__(self, leases: LeaseStore, holder: str) -> None:
        """`holder`: this process's name, which no other one has."""
        self._leases = leases
        self._holder = holder
        # Any: of whatever each log holds.
        self._tailers: dict[tuple[str, str], LogTailer[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._added = asyncio.Event()
        self._outage = Outage("the election of the log's consumers")
        get_meter("placet.logtail").create_observable_gauge(
            "placet.logtail.stuck",
            callbacks=[lambda _options: stuck(self.statuses())],
            description="1 while a consumer cannot follow a tenant's log, else 0.",
        )

    def add(self, tailer: LogTailer[Any]) -> None:
        """Runs a tailer from now on."""
        if not self._tasks:
            self._tasks.append(_own_task(self._elect_for_ever(), "election"))
        self._tailers[tailer.consumer, tailer.tenant] = tailer
        self._tasks.append(_own_task(tailer.run(), f"{tailer.consumer}/{tailer.tenant}"))
        self._added.set()

    def statuses(self) -> list[TailStatus]:
        """The status of each consumer for each tenant's log."""
        return [tailer.status for tailer in self._tailers.values()]

    async def close(self) -> None:
        """Stops all tailers, and lets other processes lead."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._leases.release(self._holder)
        except DatabaseUnavailable as error:
            _LOG.warning("another process leads only after %s: %s", LEASE, error)

    async def _elect_for_ever(self) -> None:
        """Elects periodically. Not by `run_periodically`: an added tailer is elected at once."""
        while True:
            self._added.clear()
            await self._elect()
            await wait_for(self._added, RENEWAL_SECONDS)

    async def _elect(self) -> None:
        tailers = dict(self._tailers)
        try:
            held = await self._leases.hold(tailers, self._holder, datetime.now(UTC), LEASE)
            self._outage.succeeded()
        except Exception as error:  # noqa: BLE001  # were this loop to end, all consumers would stand still
            self._outage.failed(error, expected=isinstance(error, DatabaseUnavailable))
            held = set()
        for key, tailer in tailers.items():
            tailer.lead(elected=key in held)


def stuck(statuses: Iterable[TailStatus]) -> list[Observation]:
    """1 for each consumer that cannot follow a tenant's log, 0 for each other."""
    return [
        Observation(int(bool(one.broken)), {"consumer": one.consumer, "tenant": one.tenant})
        for one in statuses
    ]


def _own_task(work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
    """A task that outlives the call that needed it first, without its deadline and its trace."""
    return asyncio.create_task(work, name=name, context=Context())
