"""The witness of one tenant's audit log.

It asks AuditService for the log's checkpoint, verifies that the log only grew since the last one, and cosigns
it into its folder. It alarms when the log is rolled back, forked, signed by somebody else or silent. It runs
until SIGTERM; `python -m placet_witness.status FOLDER` prints its status. Its key is made by
`umask 077; openssl genpkey -algorithm ed25519 -out witness.pem`. docs/operations.md has the rest: TLS,
telemetry, and what to do about each alarm.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc.client import channel
from placet_rpc.program import run_program
from placet_rpc.signals import stop_signals
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_witness.audit_log import AuditLog
from placet_witness.config import Settings
from placet_witness.keys import Signer
from placet_witness.store import Folder
from placet_witness.watcher import Witness


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Witness]:
    """Assembles the witness. Raises OSError or ValueError for unusable settings, keys or folders."""
    signer, trust = Signer.load(settings.key_file, settings.name), settings.trust()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(Folder.held(settings.folder))
        tokens, timeout = FileTokenSource(settings.token_file), settings.interval
        opened = channel(settings.audit_address, tokens, default_timeout=timeout, tls=settings.tls())
        stub = audit_service_pb2_grpc.AuditServiceStub(await stack.enter_async_context(opened))
        yield Witness(AuditLog(stub, settings.tenant), folder, signer, trust, interval=settings.interval)


async def run(settings: Settings) -> None:
    """Watches until SIGTERM or SIGINT."""
    async with assembled(settings) as witness:
        watching = asyncio.create_task(witness.watch(lambda: _say_ready(settings.ready_file)))
        with stop_signals(lambda _number: watching.cancel()), suppress(asyncio.CancelledError):
            await watching


def _say_ready(path: Path | None) -> None:
    if path is not None:
        path.touch()


def main() -> int:
    """The exit status; see `run_program`."""
    return run_program("the witness", Settings, run, telemetry=partial(setup, "witness"), about=__doc__)


if __name__ == "__main__":
    sys.exit(main())
