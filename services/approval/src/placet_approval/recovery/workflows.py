"""Brings back an open request whose workflow was terminated in Temporal, or is not there any more."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import Workflows
from placet_approval.intake.start import Starter
from placet_approval.projection.fold import folded
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.requests import BEGINNING, Request, RequestStore
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable

_LOG = logging.getLogger("placet.approval.reviving")

AT_ONCE = 100


class Reviver:
    """Starts a workflow again where the log stands. The log commits, so nothing is lost with a history."""

    def __init__(
        self,
        requests: RequestStore,
        pending: PendingCommands,
        log: AuditLog,
        workflows: Workflows,
        starter: Starter,
        older_than: timedelta = timedelta(0),
    ) -> None:
        """Younger requests than `older_than` are not looked for: Temporal may not list them yet."""
        self._requests = requests
        self._pending = pending
        self._log = log
        self._workflows = workflows
        self._starter = starter
        self._older_than = older_than
        # How far this round has come.
        self._place = BEGINNING

    async def revive(self, tenant: str, approval_id: str) -> None:
        """Starts an open request's workflow again, unless it runs, with the commands that were accepted and
        are not judged. Raises Unavailable, DeadlineExceeded, and what `Workflows` raises."""
        request = await self._requests.get(tenant, approval_id)
        if request is None:
            return
        await self._bring_back(request)

    async def _bring_back(self, request: Request) -> None:
        path = await self._log.events_of(request.tenant, request.approval_id)
        state = folded(path)
        if state is None or state.closed is not None:
            return
        await self._starter.start_again(request, path)

    async def look(self) -> int:
        """Looks after some of the open requests; answers at how many it looked. Forgets the commands that
        were noted for requests that are closed.

        One that cannot be brought back fails alone. Raises Unavailable, DeadlineExceeded or
        DatabaseUnavailable when something does not answer: it may be away for this one alone, so the next
        look begins behind it, and the next round comes back to it.
        """
        before = datetime.now(UTC) - self._older_than
        await self._pending.forget_closed(before)
        found = await self._requests.open(self._place, before, AT_ONCE)
        running = await self._workflows.running([request.approval_id for request in found])
        for request in found:
            self._place = (request.create_time, request.approval_id)
            if request.approval_id not in running:
                await self._bring_back_or_say(request)
        if len(found) < AT_ONCE:
            self._place = BEGINNING
        return len(found)

    async def _bring_back_or_say(self, request: Request) -> None:
        try:
            await self._bring_back(request)
        except (Unavailable, DeadlineExceeded):
            raise
        except (PlacetError, ValueError) as error:
            # ValueError: its row cannot be read.
            _LOG.error("request %s cannot be brought back: %r", request.approval_id, error)
