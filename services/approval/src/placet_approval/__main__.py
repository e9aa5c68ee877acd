"""`python -m placet_approval`: ApprovalService as a process. Wiring only."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_approval.config import Settings
from placet_approval.door import Door
from placet_approval.feed import Feed
from placet_approval.intake import Intake
from placet_approval.log import AuditLog
from placet_approval.policies import BadPolicy, load
from placet_approval.reading import Reader
from placet_approval.requests import RequestStore
from placet_approval.servicer import ApprovalServicer
from placet_approval.temporal import Workflows
from placet_approval.views import ViewStore
from placet_rpc.client import channel
from placet_rpc.server import CannotListen, Endpoint, serve
from placet_rpc.tokens import FileTokenSource
from placet_storage import Database, DatabaseUnavailable, MigrationFailed
from placet_telemetry import setup
from placet_temporal import TemporalSettings, connect

_LOG = logging.getLogger("placet.approval")


async def run(settings: Settings) -> None:
    """Serve until a signal; then the server stops first, and what it uses is closed after it."""
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url, migrations="placet_approval")
        stack.push_async_callback(database.close)
        audit = await stack.enter_async_context(
            channel(settings.audit_address, FileTokenSource(settings.token_file))
        )
        log = AuditLog(AuditServiceStub(audit))
        requests, views = RequestStore(database), ViewStore(database)
        workflows = Workflows(await connect(TemporalSettings(), "approval", lazy=True))
        feed = Feed(log, views, holder=f"{socket.gethostname()}/{os.getpid()}")
        stack.push_async_callback(feed.close)
        intake = Intake(requests, views, log, workflows, load(settings.policy_folder), settings.clock_scale)
        door = Door(requests, views, feed, log, workflows, settings.judge_budget)
        reader = Reader(requests, views, feed, log, settings.pulse)
        endpoint = Endpoint(
            approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
            approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server,
            ApprovalServicer(intake, door, reader, settings.await_limit),
        )
        for tenant in await requests.tenants():
            feed.of(tenant)
        async with sweeping(intake, settings):
            await serve(settings.server(), [endpoint])


@asynccontextmanager
async def sweeping(intake: Intake, settings: Settings) -> AsyncIterator[None]:
    """The sweeper at work; if it fails in a way that it does not expect, the process ends."""
    after = timedelta(seconds=settings.sweep_after)
    async with asyncio.TaskGroup() as parts:
        sweeper = parts.create_task(intake.sweep_for_ever(settings.sweep_interval, after))
        try:
            yield
        finally:
            sweeper.cancel()


def main() -> int:
    """The exit status: 0 after a signal, 1 when it cannot run, and then the log says why."""
    telemetry = setup("approval")
    try:
        asyncio.run(run(Settings()))
    except (BadPolicy, CannotListen, DatabaseUnavailable, MigrationFailed, OSError, ValueError) as error:
        _LOG.error("ApprovalService cannot run: %s", error)  # expected kinds: no stack trace
        return 1
    else:
        return 0
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    sys.exit(main())
