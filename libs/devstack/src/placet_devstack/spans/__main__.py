"""`python -m placet_devstack.spans --listen 127.0.0.1:7412 --database FILE`: runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

from placet_devstack.spans.receiver import start
from placet_devstack.spans.store import DEFAULT_LIMIT, SpanStore
from placet_telemetry import configure_logging

_log = logging.getLogger("placet.spans")


def main() -> int:
    """The process's exit status: 0 after a signal, 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m placet_devstack.spans", description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port, a loopback address; port 0: any")
    parser.add_argument("--database", required=True, type=Path, help="the file that keeps the spans")
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="how many are kept (%(default)s)")
    arguments = parser.parse_args()
    # Logs only: this process must not send spans to itself.
    configure_logging("spans")
    try:
        asyncio.run(_serve(arguments.listen, arguments.database, arguments.limit))
    except (ValueError, OSError, sqlite3.Error) as error:
        _log.error("cannot start: %s", error)
        return 2
    return 0


async def _serve(listen: str, database: Path, limit: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    store = SpanStore(database, limit=limit)
    try:
        running = await start(listen, store)
        _log.info("receiving spans on port %d, keeping %d in %s", running.port, limit, database)
        await stopping.wait()
        await running.stop()
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
