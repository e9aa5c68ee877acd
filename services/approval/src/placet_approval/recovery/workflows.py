"""Recovery of lost workflows: restarts those that were terminated or lost in Temporal."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import Workflows
from placet_approval.errors import unknown_approval
from placet_approval.intake.workflow_start import WorkflowStarter
from placet_approval.projection.fold import fold_path
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.requests import BEGINNING, Request, RequestStore
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable

_LOG = logging.getLogger(__name__)

BATCH_SIZE = 100


class WorkflowRecovery:
    """Restarts workflows of open requests from the log, which is the commit point."""

    def __init__(
        self,
        requests: RequestStore,
        pending: PendingCommands,
        log: AuditLog,
        workflows: Workflows,
        starter: WorkflowStarter,
        older_than: timedelta = timedelta(0),
    ) -> None:
        """`older_than`: younger requests are not checked, because Temporal may not list them yet."""
        self._requests = requests
        self._pending = pending
        self._log = log
        self._workflows = workflows
        self._starter = starter
        self._older_than = older_than
        # The last request checked in this round.
        self._place = BEGINNING

    async def restart(self, tenant: str, approval_id: str) -> None:
        """Restarts an open request's workflow with its pending commands, unless it runs.

        Raises Unavailable, DeadlineExceeded, and what `Workflows` raises.
        """
        request = await self._requests.get(tenant, approval_id)
        if request is None:
            raise unknown_approval(approval_id)
        await self._restart_request(request)

    async def _restart_request(self, request: Request) -> None:
        path = await self._log.events_of(request.tenant, request.approval_id)
        state = fold_path(path, self._log.keys)
        if state is None or state.closed is not None:
            return
        await self._starter.start(request, path)

    async def run(self) -> int:
        """Checks one batch of open requests; returns its size. Deletes pending commands of closed requests.

        A request that cannot be restarted is logged and skipped. Raises Unavailable, DeadlineExceeded or
        DatabaseUnavailable when a dependency does not answer. The next batch then starts after this request,
        because it alone may be affected; the next round returns to it.
        """
        before = datetime.now(UTC) - self._older_than
        await self._pending.forget_closed(before)
        found = await self._requests.open(self._place, before, BATCH_SIZE)
        ids = [request.approval_id for request in found]
        running = await self._workflows.running(ids)
        for request in found:
            self._place = (request.create_time, request.approval_id)
            if request.approval_id not in running:
                await self._restart_or_report(request)
        if len(found) < BATCH_SIZE:
            self._place = BEGINNING
        return len(found)

    async def _restart_or_report(self, request: Request) -> None:
        try:
            await self._restart_request(request)
        except (Unavailable, DeadlineExceeded):
            raise
        except (PlacetError, ValueError, DecodeError) as error:
            # ValueError, DecodeError: its row cannot be read.
            _LOG.error("the workflow of request %s cannot be restarted: %r", request.approval_id, error)
