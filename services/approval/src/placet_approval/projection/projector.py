"""The projector: folds a tenant's log, writes the view where this process leads, and tells who waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import AppliedEvent, Change, Folded, LogFold
from placet_approval.projection.wait_spans import record_waits
from placet_approval.projection.watch_history import WatchHistory
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import VIEW, Shown, ViewStore
from placet_domain.events import LogEntry
from placet_domain.state import ApprovalState
from placet_logtail import Batch, CursorMoved, Listeners, report_skipped

_LOG = logging.getLogger("placet.approval.projector")


class Projector:
    """A handler of the log (see `placet_logtail.tailer.Handler`); where this process does not lead, it only
    folds.

    Whoever it tells can read what they are told: it writes first.
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
        # What this process wrote the view up to, or read that it is; None where it does not lead.
        self._written: int | None = None

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """See LogFold."""
        self._fold.expect(approval_id, labels)

    @property
    def leads(self) -> bool:
        """Whether this process writes the view."""
        return self._written is not None

    async def view_position(self) -> int:
        """The first index that the view does not hold yet."""
        return await self._views.next_index(self._tenant) if self._written is None else self._written

    async def start(self, *, leading: bool) -> int:
        """See Handler."""
        self._fold.forget()
        self._written = None
        position = await self._start_position(leading=leading)
        # Where another process wrote what was not read here, who waits for it must look into the view.
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
        folded = await self._fold.take(batch.items, _record_waits if leading else None)
        if leading:
            await self._views.write(
                self._tenant, position, batch.items, _last_of_each(folded.changes), folded.unusable
            )
            self._report(folded)
        self._written = batch.next if leading else None
        applied = [change.applied for change in folded.changes]
        for one in applied:
            self._listeners.publish(one.shown.approval.approval_id, one)
        self._history.publish(applied, batch.next)

    async def skip(self, position: int, entry: event_pb2.LogEntry, reason: str, *, leading: bool) -> None:
        """See Handler."""
        if leading:
            await self._views.skip(self._tenant, position, entry.index, reason)
        self._written = entry.index + 1 if leading else None
        self._history.publish([], entry.index + 1)

    async def _start_position(self, *, leading: bool) -> int:
        """Where the view stands. At the beginning, if it was made of another log than there is now: that of
        before the log's database was put back to what it once was."""
        position = await self._views.next_index(self._tenant)
        if not position or not leading:
            return position
        if await self._log.begins_with(self._tenant, position, await self._views.newest(self._tenant)):
            return position
        _LOG.error(
            "the log of %s does not hold what its view was made of: it was put back or replaced. The view is "
            "made anew; what the log has lost is lost (docs/operations.md)",
            self._tenant,
        )
        await self._views.drop(self._tenant)
        return 0

    async def _check_cursor(self, position: int, *, leading: bool) -> None:
        """In a quiet log nothing else would tell that the view was dropped. Raises CursorMoved."""
        if leading and await self._views.next_index(self._tenant) != position:
            raise CursorMoved(self._tenant)

    def _report(self, folded: Folded) -> None:
        for log_index, reason in folded.unusable.items():
            report_skipped(VIEW, self._tenant, log_index, reason)


def _record_waits(before: ApprovalState, stored: LogEntry) -> None:
    """Records a wait's span, if it can: nothing else depends on it."""
    try:
        record_waits(before, stored)
    except Exception:  # noqa: BLE001  # see above
        _LOG.exception("the wait that entry %d ended has no span", stored.index)


def _last_of_each(changes: Sequence[Change]) -> list[tuple[Shown, list[str]]]:
    """Each request as it stands after its last change, with all whom the changes asked first; but for those
    whom an erasure follows."""
    latest: dict[str, tuple[Shown, list[str]]] = {}
    for change in changes:
        shown = change.applied.shown
        _, asked = latest.get(shown.approval.approval_id, (shown, []))
        asked = [] if change.erases else asked
        latest[shown.approval.approval_id] = (shown, [*asked, *change.newly_asked])
    return list(latest.values())
