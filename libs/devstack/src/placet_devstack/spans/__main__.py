"""`python -m placet_devstack.spans --listen 127.0.0.1:7412 --database FILE`: runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from placet_devstack.spans.receiver import start
from placet_devstack.spans.store import DEFAULT_LIMIT, SpanStore
from placet_rpc.signals import stop_event
from placet_telemetry import configure_logging

_LOG = logging.getLogger(__name__)


def main() -> int:
    """The process's exit status: 0 after a signal, 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m placet_devstack.spans", description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port, a loopback address; port 0: any")
    parser.add_argument("--database", required=True, type=Path, help="the file that keeps the spans")
    arguments = parser.parse_args()
    # Logs only: this process must not send spans to itself.
    configure_logging("spans")
    try:
        asyncio.run(_serve(arguments.listen, arguments.database))
    except (ValueError, OSError, sqlite3.Error) as error:
        _LOG.error("cannot start: %s", error)
        return 2
    return 0


async def _serve(listen: str, database: Path) -> None:
    with stop_event() as stop, closing(SpanStore(database)) as store:
        running = await start(listen, store)
        _LOG.info("receiving spans on port %d, keeping %d in %s", running.port, DEFAULT_LIMIT, database)
        await stop.wait()
        await running.stop()


if __name__ == "__main__":
    sys.exit(main())
