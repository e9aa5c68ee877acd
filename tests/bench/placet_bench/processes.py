"""Processes of the bench's own: started, and gone when their block ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20.0


@contextlib.asynccontextmanager
async def child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.DEVNULL,
    stderr: int | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that finds this package, with `env` beside the environment of this one."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PYTHONPATH": str(HERE), **(env or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        # Ctrl-C reaches the bench alone, which then stops its children in order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
