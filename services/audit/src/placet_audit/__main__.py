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
from placet_audit.erasing import Eraser
from placet_audit.log_stream import LogStream
from placet_audit.proving import Prover
from placet_audit.refusals import appending_by
from placet_audit.sequencer import Sequencer
from placet_audit.servicer import AuditServicer
from placet_audit.store import Store
from placet_rpc.errors import DataLoss
from placet_rpc.recording import RefusalRecorder
from placet_rpc.server import CannotListen, Endpoint, serve
from placet_rpc.settings_faults import plainly
from placet_storage import Database, DatabaseUnavailable, MigrationFailed, shredding
from placet_telemetry import setup

_LOG = logging.getLogger("placet.audit")
_ABOUT = """AuditService: keeps each tenant's log, signs it, and serves it with its proofs until a signal.
It is told how by environment variables: PLACET_AUDIT_DATABASE_URL is where the log is kept,
PLACET_AUDIT_LOG_KEY_FILE the key that signs it (a private Ed25519 key in PEM, mode 0600), PLACET_AUDIT_ORIGIN
its name, PLACET_AUDIT_LISTEN where it serves, PLACET_JWKS_FILE whose tokens it believes. docs/operations.md
lists all of them."""


async def sign_old_logs(settings: Settings) -> None:
    """Signs the first checkpoints of logs that are older than checkpoints, because an operator says so."""
    keys = settings.log_keys()
    async with opened(settings) as database:
        for tenant, size in await Prover(database, keys).sign_old_logs():
            _LOG.warning("signed the first checkpoint of the log of %s, of %d entries", tenant, size)


async def run(settings: Settings) -> None:
    """Serve until a signal; then the server stops first, the log drains, and the database closes last."""
    async with assembled(settings) as (endpoint, refusals):
        await serve(settings.server(), [endpoint], on_access_refused=refusals.record)


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[tuple[Endpoint, RefusalRecorder]]:
    """The service at work, lacking only a server."""
    keys = settings.log_keys()
    async with opened(settings) as database:
        store, prover = Store(database, keys), Prover(database, keys)
        stream = LogStream(
            store, keep=settings.tail_bytes, poll=settings.tail_poll, sign_of_life=settings.tail_pulse
        )
        sequencer = Sequencer(
            store, stream.publish_entries, queue_limit=settings.queue_limit, batch_limit=settings.batch_limit
        )
        endpoint = Endpoint(
            audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            AuditServicer(store, sequencer, stream, prover, Eraser(database, keys), keys),
        )
        async with stream, running(sequencer):
            append = appending_by(sequencer.append)
            yield endpoint, RefusalRecorder(append, per_minute=settings.refusals_per_minute)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The log's database, with its schema up to date."""
    database = await Database.open(settings.database_url, migrations="placet_audit")
    try:
        async with shredding(database):
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
    parser = argparse.ArgumentParser(prog="python -m placet_audit", description=_ABOUT)
    parser.add_argument(
        "--sign-old-logs",
        action="store_true",
        help="sign the first checkpoint of each log that has entries and no checkpoint, and end; "
        "only after an upgrade from before there were any, for a deleted one looks the same",
    )
    work = sign_old_logs if parser.parse_args().sign_old_logs else run
    telemetry = setup("audit")
    status = 0
    try:
        asyncio.run(work(Settings()))
    except* (CannotListen, DatabaseUnavailable, DataLoss, MigrationFailed, OSError, ValueError) as failures:
        why = "; ".join(plainly(failure, PREFIX) for failure in failures.exceptions)
        _LOG.error("AuditService cannot run: %s", why)
        _LOG.debug("where it failed", exc_info=failures)
        status = 1
    finally:
        telemetry.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main())
