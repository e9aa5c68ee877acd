"""Projections of the log in this process: one per tenant, started on first use."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import AppliedEvent
from placet_approval.projection.projector import Projector
from placet_approval.projection.watch_history import WatchHistory
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import VIEW, ViewStore
from placet_logtail import Batch, Consumers, Listener, Listeners, LogTailer, wait_for

_LOG = logging.getLogger(__name__)

# Seconds between reports of a view that has not caught up since the start.
REPORT_SECONDS = 10.0
# Seconds between reads of the view's cursor in a process that does not write the view.
CURSOR_POLL = 0.02


class Projection:
    """One tenant's projection, with its listeners and watchers."""

    def __init__(
        self, tenant: str, log: AuditLog, views: ViewStore, requests: RequestStore, policies: PolicyStore
    ) -> None:
        self._listeners: Listeners[AppliedEvent] = Listeners()
        self._history = WatchHistory(tenant, log, views, requests, policies)
        self._projector = Projector(tenant, log, views, requests, policies, self._listeners, self._history)
        self.tailer: LogTailer[event_pb2.LogEntry] = LogTailer(VIEW, tenant, log, self._projector)

    def listening(self, approval_id: str) -> AbstractContextManager[Listener[AppliedEvent]]:
        """Listens to one request's events, from now on."""
        return self._listeners.listening(approval_id)

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """See LogFold."""
        self._projector.expect(approval_id, labels)

    async def head(self) -> int | None:
        """The first index that the log does not hold yet, as far as this process knows.

        None if it has never heard from the log.
        """
        return await self.tailer.head()

    async def view_position(self) -> int:
        """The first index that the view has not read."""
        return await self._projector.view_position()

    async def caught_up(self, timeout: float) -> bool:
        """Waits until the view holds the log as far as it had grown when this process caught up with it.

        False when `timeout` seconds passed. True at once in a process that has caught up, also while the log
        cannot be reached; False again while a dropped view is rebuilt.
        """
        deadline = time.monotonic() + timeout
        head = await self.tailer.caught_up_to(timeout)
        return head is not None and await self.reached(head - 1, deadline - time.monotonic())

    async def reached(self, log_index: int, timeout: float) -> bool:
        """Waits until the view holds everything up to `log_index`; False when `timeout` seconds passed."""
        deadline = time.monotonic() + timeout
        while True:
            moved = self._history.arm()
            if await self.view_position() > log_index:
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            await wait_for(moved, min(remaining, 1.0 if self._projector.leads else CURSOR_POLL))

    async def watch(
        self, from_index: int, matches: Callable[[AppliedEvent], bool], sign_of_life: float
    ) -> AsyncGenerator[Batch[AppliedEvent], None]:
        """Streams matching events from an index of the log on; see WatchHistory."""
        async for batch in self._history.follow(from_index, matches, sign_of_life):
            yield batch


class Projections:
    """The projections of all tenants."""

    def __init__(
        self,
        log: AuditLog,
        views: ViewStore,
        requests: RequestStore,
        policies: PolicyStore,
        consumers: Consumers,
        on_begin: Callable[[str, Projection], None] = lambda tenant, projection: None,
    ) -> None:
        """`on_begin` is called with each tenant's projection when it begins."""
        self._on_begin = on_begin
        self._log = log
        self._views = views
        self._requests = requests
        self._policies = policies
        self._consumers = consumers
        self._by_tenant: dict[str, Projection] = {}

    async def all_caught_up(self) -> None:
        """Returns once the projections that run now have all caught up with their logs."""
        for tenant, projection in list(self._by_tenant.items()):
            while not await projection.caught_up(REPORT_SECONDS):
                _LOG.warning("the view of %s has not caught up with the log yet", tenant)
            if lost := await self._requests.lost(tenant):
                _LOG.error(
                    "%d requests of %s are in the log and not in this database, which was lost or restored"
                    " from an older copy: their contents are lost (docs/operations.md)",
                    lost,
                    tenant,
                )

    def of(self, tenant: str) -> Projection:
        """A tenant's projection, started on first use."""
        projection = self._by_tenant.get(tenant)
        if projection is None:
            projection = Projection(tenant, self._log, self._views, self._requests, self._policies)
            self._by_tenant[tenant] = projection
            self._consumers.add(projection.tailer)
            self._on_begin(tenant, projection)
        return projection
