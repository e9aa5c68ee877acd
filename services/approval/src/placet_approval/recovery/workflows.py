"""Recovery of lost workflows: restarts those that were terminated or lost in Temporal."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
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
        state = fold_path(path)
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
        overdue = await self._pending.overdue(ids, before)
        for request in found:
            self._place = (request.create_time, request.approval_id)
            if request.approval_id not in running:
                await self._do_or_report(request, self._restart_request, "restarted")
            elif (request.tenant, request.approval_id) in overdue:
                await self._do_or_report(request, self._signal_pending, "given its pending commands")
        if len(found) < BATCH_SIZE:
            self._place = BEGINNING
        return len(found)

    async def _signal_pending(self, request: Request) -> None:
        """Signals commands that were stored and not processed: their process died, and no caller retries."""
        state = fold_path(await self._log.events_of(request.tenant, request.approval_id))
        processed = set(state.commands) if state is not None else set()
        tenant, approval_id = request.tenant, request.approval_id
        await self._pending.forget(tenant, approval_id, processed)
        for command in await self._pending.of_request(tenant, approval_id):
            if await self._pending.claim(tenant, approval_id, command, datetime.now(UTC)):
                try:
                    await self._workflows.command(approval_id, command)
                except BaseException:
                    await self._pending.release(tenant, approval_id, command.id)
                    raise

    async def _do_or_report(
        self, request: Request, act: Callable[[Request], Awaitable[None]], done: str
    ) -> None:
        try:
            await act(request)
        except (Unavailable, DeadlineExceeded):
            raise
        except (PlacetError, NoSuchWorkflow, ValueError, DecodeError) as error:
            # ValueError, DecodeError: its row cannot be read.
            _LOG.error("the workflow of request %s cannot be %s: %r", request.approval_id, done, error)
