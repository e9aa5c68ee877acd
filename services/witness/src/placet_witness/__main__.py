"""`python -m placet_witness`: the witness as a process. Wiring only."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc.client import channel
from placet_rpc.settings import describe_error
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import log, setup
from placet_witness.audit_log import AuditLog
from placet_witness.config import PREFIX, Settings
from placet_witness.keys import Signer
from placet_witness.store import Folder
from placet_witness.watcher import Witness

_LOG = log(__name__)
_ABOUT = """\
The witness of one tenant's audit log: it asks AuditService for the log's checkpoint, verifies that the log
only grew since the last one, and cosigns it into its folder. It alarms when the log is rolled back, forked,
signed by somebody else or silent. It runs until SIGTERM; `python -m placet_witness.status FOLDER` prints
the current alarm.

These environment variables tell it what to watch, and with whose keys:
  PLACET_AUDIT_ADDRESS           host:port of AuditService [127.0.0.1:7401]
  PLACET_TOKEN_FILE              its own token, of role auditor and of the tenant [.placet/tokens/witness]
  PLACET_WITNESS_FOLDER          what it keeps, out of reach of the log's operator [.placet/witness]
  PLACET_WITNESS_KEY_FILE        its private key, mode 0600 [.placet/keys/witness.pem], made by
                                 umask 077; openssl genpkey -algorithm ed25519 -out witness.pem
  PLACET_WITNESS_LOG_KEYS_FILE   the log's public keys, as `placet audit checkpoint --keys` prints them; or
  PLACET_WITNESS_TRUST_ON_FIRST_USE=true   to believe the keys that signed the first checkpoint seen
  PLACET_WITNESS_NAME            what its key is called in signatures [placet-witness]
  PLACET_WITNESS_INTERVAL        seconds within which an alarm comes [10]
  PLACET_READY_FILE              a file to write once it has looked [none]
docs/operations.md has the rest: TLS, telemetry, and what to do about each alarm.
"""


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
    argparse.ArgumentParser(
        prog="python -m placet_witness",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    telemetry = setup("witness")
    try:
        asyncio.run(run(Settings()))
    except (OSError, ValueError) as error:
        _LOG.error(f"the witness cannot run: {describe_error(error, PREFIX)}")
        return 1
    else:
        return 0
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    sys.exit(main())
