"""`python -m placet_audit`: AuditService as a process. Wiring only."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_audit.config import PREFIX, Settings
from placet_audit.log_stream import LogStream
from placet_audit.proof_service import ProofService
from placet_audit.sequencer import Sequencer
from placet_audit.servicer import AuditServicer, appending_by
from placet_audit.store import Store
from placet_rpc.errors import DataLoss
from placet_rpc.refusals import RefusalRecorder
from placet_rpc.server import CannotListen, Endpoint, serve
from placet_rpc.settings import describe_error
from placet_storage import Database, DatabaseUnavailable, MigrationFailed
from placet_telemetry import setup

_LOG = logging.getLogger("placet.audit")
_ABOUT = """AuditService: keeps each tenant's log, signs it, and serves it with its proofs until a signal.
It is told how by environment variables: PLACET_AUDIT_DATABASE_URL is where the log is kept,
PLACET_AUDIT_LOG_KEY_FILE the key that signs it (a private Ed25519 key in PEM, mode 0600), PLACET_AUDIT_ORIGIN
its name, PLACET_AUDIT_LISTEN where it serves, PLACET_JWKS_FILE whose tokens it believes. docs/operations.md
lists all of them."""


async def run(settings: Settings) -> None:
    """Serve until a signal; then the server stops first, the log drains, and the database closes last."""
    async with assembled(settings) as (endpoint, refusals):
        await serve(settings.server(), [endpoint], on_access_refused=refusals.record)


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[tuple[Endpoint, RefusalRecorder]]:
    """The service at work, lacking only a server."""
    keys = settings.log_keys()
    async with opened(settings) as database:
        store = Store(database, keys)
        stream = LogStream(
            store, keep=settings.tail_bytes, poll=settings.tail_poll, sign_of_life=settings.tail_pulse
        )
        sequencer = Sequencer(
            store, stream.publish_entries, queue_limit=settings.queue_limit, batch_limit=settings.batch_limit
        )
        endpoint = Endpoint(
            audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            AuditServicer(store, sequencer, stream, ProofService(database, keys), keys),
        )
        async with stream, running(sequencer):
            append = appending_by(sequencer.append)
            yield endpoint, RefusalRecorder(append, per_minute=settings.refusals_per_minute)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The log's database, with its schema up to date."""
    database = await Database.open(settings.database_url, migrations="placet_audit")
    try:
        yield database
    finally:
        await database.close()


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
    """The exit status: 0 after a signal, 1 when it cannot run, and then the log says why."""
    argparse.ArgumentParser(prog="python -m placet_audit", description=_ABOUT).parse_args()
    telemetry = setup("audit")
    status = 0
    try:
        asyncio.run(run(Settings()))
    except* (CannotListen, DatabaseUnavailable, DataLoss, MigrationFailed, OSError, ValueError) as failures:
        why = "; ".join(describe_error(failure, PREFIX) for failure in failures.exceptions)
        _LOG.error("AuditService cannot run: %s", why)
        _LOG.debug("where it failed", exc_info=failures)
        status = 1
    finally:
        telemetry.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main())
