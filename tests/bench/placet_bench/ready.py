"""Time to ready of `placet up`, in an empty home and again on what it left there."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from placet_bench.figures import Figure, Report
from placet_bench.processes import child
from placet_bench.setting import Setting, clean_environment
from placet_testing.stack import free_port_base

LIMIT = 90.0
UP = "Placet is up"


async def measure(setting: Setting) -> Report:
    """Medians."""
    first, again = [], []
    for _ in range(1 if setting.quick else 3):
        home = setting.new_folder("home")
        first.append(await _seconds_to_ready(home))
        again.append(await _seconds_to_ready(home))
    setting.say("time to ready: done")
    return Report(
        (
            Figure("`placet up` to ready, empty home", statistics.median(first), "s"),
            Figure("`placet up` to ready, home with data", statistics.median(again), "s"),
        )
    )


async def _seconds_to_ready(home: Path) -> float:
    env = clean_environment() | {"PLACET_HOME": str(home), "PLACET_PORT_BASE": str(free_port_base())}
    begun = time.perf_counter()
    command = (str(Path(sys.executable).with_name("placet")), "up")
    async with child(command, env=env, stdout=asyncio.subprocess.PIPE) as up:
        if up.stdout is None:
            raise AssertionError("a pipe was asked for")
        async with asyncio.timeout(LIMIT):
            async for line in up.stdout:
                if UP in line.decode():
                    break
            else:
                raise RuntimeError(f"`placet up` ended before it was ready; see the logs in {home}")
        seconds = time.perf_counter() - begun
        # What it still says must not fill the pipe.
        rest = asyncio.create_task(up.stdout.read())
    await rest
    return seconds
