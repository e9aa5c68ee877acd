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
from placet_testing.ports import free_port_base

LIMIT = 90.0
UP = "Placet is up"


async def measure(setting: Setting) -> Report:
    """Medians; a quick look takes the empty home alone."""
    times = 1 if setting.quick else 2
    homes = [setting.new_folder("home") for _ in range(times)]
    first = [await _seconds_to_ready(home) for home in homes]
    figures = [Figure("`placet up` to ready, empty home", statistics.median(first), "s")]
    if not setting.quick:
        again = [await _seconds_to_ready(home) for home in homes]
        figures.append(Figure("`placet up` to ready, home with data", statistics.median(again), "s"))
    setting.say("time to ready: done")
    return Report(tuple(figures))


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
