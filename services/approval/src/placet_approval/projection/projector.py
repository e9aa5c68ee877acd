"""Projector: folds a tenant's log, writes the view if this process leads, and notifies listeners."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import AppliedEvent, Change, FoldResult, LogFold
from placet_approval.projection.wait_spans import record_waits
from placet_approval.projection.watch_history import WatchHistory
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import VIEW, ProjectedApproval, ViewStore
from placet_domain.events import LogEntry
from placet_domain.state import ApprovalState
from placet_logtail import Batch, CursorMoved, Listeners, report_skipped

_LOG = logging.getLogger(__name__)


class Projector:
    """Handler of a log tailer (see `placet_logtail.tailer.Handler`).

    Only the leading process writes the view. It writes before it notifies, so that a notified caller can
    read the change.
    """

    def __init__(
        self,
        tenant: str,
        log: AuditLog,
        views: ViewStore,
        requests: RequestStore,
        policies: PolicyStore,
        listeners: Listeners[AppliedEvent],
        history: WatchHistory,
    ) -> None:
        self._tenant = tenant
        self._log = log
        self._views = views
        self._fold = LogFold(tenant, log, views, requests, policies)
        self._listeners = listeners
        self._history = history
        # The view's next index, if this process leads; None otherwise.
        self._written: int | None = None

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """See LogFold."""
        self._fold.expect(approval_id, labels)

    @property
    def leads(self) -> bool:
        """True if this process writes the view."""
        return self._written is not None

    async def view_position(self) -> int:
        """The first index that the view has not read."""
        return await self._views.next_index(self._tenant) if self._written is None else self._written

    async def start(self, *, leading: bool) -> int:
        """See Handler."""
        self._fold.forget()
        self._written = None
        position = await self._start_position(leading=leading)
        # Another process wrote entries that were not read here: waiters must read the view.
        is_behind = position > self._history.end
        self._history.restart(position)
        if is_behind:
            self._listeners.wake()
            self._history.wake()
        if leading:
            self._written = position
        return position

    async def handle(self, position: int, batch: Batch[event_pb2.LogEntry], *, leading: bool) -> None:
        """See Handler."""
        if not batch.items:
            await self._check_cursor(position, leading=leading)
            return
        result = await self._fold.apply(batch.items, _record_waits if leading else None)
        if leading:
            await self._views.write(
                self._tenant, position, batch.items, _last_of_each(result.changes), result.unusable
            )
            self._report(result)
        self._written = batch.next if leading else None
        applied = [change.applied for change in result.changes]
        for one in applied:
            self._listeners.publish(one.projected.approval.approval_id, one)
        self._history.publish(applied, batch.next)

    async def skip(self, position: int, entry: event_pb2.LogEntry, reason: str, *, leading: bool) -> None:
        """See Handler."""
        if leading:
            await self._views.skip(self._tenant, position, entry.index, reason)
        self._written = entry.index + 1 if leading else None
        self._history.publish([], entry.index + 1)

    async def _start_position(self, *, leading: bool) -> int:
        """The view's next index; 0 after dropping a view that does not match the log (after a rollback)."""
        position = await self._views.next_index(self._tenant)
        if not position or not leading:
            return position
        if await self._log.begins_with(self._tenant, position, await self._views.newest(self._tenant)):
            return position
        _LOG.error(
            "the log of %s does not contain the entries of its view: it was rolled back or replaced. The "
            "view is rebuilt from the log; entries that the log lost stay lost (docs/operations.md)",
            self._tenant,
        )
        await self._views.drop(self._tenant)
        return 0

    async def _check_cursor(self, position: int, *, leading: bool) -> None:
        """Detects a dropped view while the log is quiet. Raises CursorMoved."""
        if leading and await self._views.next_index(self._tenant) != position:
            raise CursorMoved(self._tenant)

    def _report(self, result: FoldResult) -> None:
        for log_index, reason in result.unusable.items():
            report_skipped(VIEW, self._tenant, log_index, reason)


def _record_waits(before: ApprovalState, stored: LogEntry) -> None:
    """Records a wait's span; a failure is logged, because nothing else depends on it."""
    try:
        record_waits(before, stored)
    except Exception:  # noqa: BLE001  # see above
        _LOG.exception("no span was recorded for the wait that entry %d ended", stored.index)


def _last_of_each(changes: Sequence[Change]) -> list[tuple[ProjectedApproval, Mapping[str, bool]]]:
    """Each request after its last change, with the changes of those awaited since its last erasure."""
    latest: dict[str, tuple[ProjectedApproval, Mapping[str, bool]]] = {}
    for change in changes:
        projected = change.applied.projected
        _, before = latest.get(projected.approval.approval_id, (projected, {}))
        before = {} if change.erases else before
        latest[projected.approval.approval_id] = (projected, {**before, **change.awaited})
    return list(latest.values())
