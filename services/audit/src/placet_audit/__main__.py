"""AuditService as a process: keeps each tenant's log, signs it, and serves it with its proofs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_audit.automation_store import AutomationStore
from placet_audit.config import Settings
from placet_audit.log_stream import LogStream
from placet_audit.proof_service import ProofService
from placet_audit.sequencer import Sequencer
from placet_audit.servicer import AuditServicer, appending_by
from placet_audit.store import Store
from placet_rpc.access_refusals import RefusalRecorder
from placet_rpc.server import Endpoint
from placet_rpc.service import Service, run_service
from placet_storage import Database, DatabaseUnavailable, MigrationFailed
from placet_telemetry import setup


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Service]:
    """Assembles the running service without its server."""
    keys = settings.log_keys()
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url, migrations="placet_audit")
        stack.push_async_callback(database.close)
        store = Store(database, keys)
        stream = LogStream(
            store, keep=settings.tail_bytes, poll=settings.tail_poll, sign_of_life=settings.sign_of_life
        )
        sequencer = Sequencer(
            store, stream.publish_entries, queue_limit=settings.queue_limit, batch_limit=settings.batch_limit
        )
        endpoint = Endpoint(
            audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            AuditServicer(
                store,
                AutomationStore(database, keys),
                sequencer,
                stream,
                ProofService(database, keys),
                keys,
                settings.retention(),
            ),
        )
        await stack.enter_async_context(stream)
        await stack.enter_async_context(running(sequencer))
        append = appending_by(sequencer.append)
        yield Service(
            endpoint, RefusalRecorder(append, program="audit", per_minute=settings.refusals_per_minute).record
        )


@asynccontextmanager
async def running(sequencer: Sequencer) -> AsyncIterator[None]:
    """The log at work. If it fails, the whole process ends."""
    async with asyncio.TaskGroup() as parts:
        parts.create_task(sequencer.run())
        try:
            yield
        finally:
            sequencer.close()


def main() -> int:
    """The exit status; see `run_service`."""
    return run_service(
        "AuditService",
        Settings,
        assembled,
        telemetry=partial(setup, "audit"),
        about=__doc__,
        explained=(DatabaseUnavailable, MigrationFailed),
    )


if __name__ == "__main__":
    sys.exit(main())
