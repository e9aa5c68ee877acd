"""Recovery of pending commands: signals those whose process died before it and whose caller is gone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.projection.fold import fold_path
from placet_approval.recovery.workflows import WorkflowRecovery
from placet_approval.store.pending_commands import OverdueCommand, PendingCommands
from placet_approval.store.requests import BEGINNING, Place
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable

_LOG = logging.getLogger(__name__)

BATCH_SIZE = 100


class CommandRecovery:
    """Signals overdue commands, however many other requests are open."""

    def __init__(
        self,
        pending: PendingCommands,
        log: AuditLog,
        workflows: Workflows,
        workflow_recovery: WorkflowRecovery,
        older_than: timedelta,
    ) -> None:
        """`older_than`: younger commands are left to their callers."""
        self._pending = pending
        self._log = log
        self._workflows = workflows
        self._workflow_recovery = workflow_recovery
        self._older_than = older_than
        # The last command handled in this round.
        self._place: Place = BEGINNING

    async def run(self) -> int:
        """Signals all overdue commands, in batches; returns their number.

        A command that cannot be signalled is logged and skipped. Raises Unavailable, DeadlineExceeded or
        DatabaseUnavailable when a dependency does not answer. The next run then starts after this command,
        because it alone may be affected; the next round returns to it.
        """
        count = 0
        while True:
            now = datetime.now(UTC)
            found = await self._pending.overdue(self._place, now - self._older_than, now, BATCH_SIZE)
            for one in found:
                self._place = (one.create_time, one.approval_id)
                await self._signal_or_report(one)
            count += len(found)
            if len(found) < BATCH_SIZE:
                self._place = BEGINNING
                return count

    async def _signal_or_report(self, overdue: OverdueCommand) -> None:
        try:
            await self._signal_pending(overdue.tenant, overdue.approval_id)
        except (Unavailable, DeadlineExceeded):
            raise
        except (PlacetError, ValueError, DecodeError) as error:
            # ValueError, DecodeError: its row cannot be read.
            _LOG.error("the commands of request %s cannot be signalled: %r", overdue.approval_id, error)

    async def _signal_pending(self, tenant: str, approval_id: str) -> None:
        state = fold_path(await self._log.events_of(tenant, approval_id), self._log.keys)
        await self._pending.forget(tenant, approval_id, set(state.commands) if state is not None else set())
        for stored in await self._pending.of_request(tenant, approval_id):
            command = await self._pending.claim(tenant, approval_id, stored, datetime.now(UTC))
            if command is not None:
                try:
                    async with self._pending.signalling(tenant, approval_id, command.id):
                        await self._workflows.command(approval_id, command)
                except NoSuchWorkflow:
                    # All pending commands go with the restart.
                    await self._workflow_recovery.restart(tenant, approval_id)
                    return
