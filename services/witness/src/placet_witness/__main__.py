"""`python -m placet_witness`: the witness as a process. Wiring only."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc.client import channel
from placet_rpc.tokens import FileTokenSource
from placet_telemetry import log, setup
from placet_witness.audit import AuditLog
from placet_witness.config import Settings
from placet_witness.keys import Signer
from placet_witness.store import Folder
from placet_witness.watching import Witness

_LOG = log(__name__)


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Witness]:
    """The witness's parts. Raises OSError or ValueError for what it cannot begin with."""
    signer, trust = Signer.load(settings.key_file, settings.name), settings.trust()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(Folder.held(settings.folder))
        tokens, timeout = FileTokenSource(settings.token_file), settings.interval
        opened = channel(settings.audit_address, tokens, default_timeout=timeout, tls=settings.tls())
        stub = audit_service_pb2_grpc.AuditServiceStub(await stack.enter_async_context(opened))
        yield Witness(AuditLog(stub), folder, signer, trust, interval=settings.interval)


async def run(settings: Settings) -> None:
    """Watches until SIGTERM or SIGINT."""
    async with assembled(settings) as witness:
        watching = asyncio.create_task(witness.watch(lambda: _say_ready(settings.ready_file)))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def _say_ready(path: Path | None) -> None:
    if path is not None:
        path.touch()


def main() -> int:
    """The exit status: 0 after a signal, 1 when it cannot run, and then the log says why."""
    telemetry = setup("witness")
    try:
        asyncio.run(run(Settings()))
    except (OSError, ValueError) as error:
        _LOG.error(f"the witness cannot run: {error}")
        return 1
    else:
        return 0
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    sys.exit(main())
