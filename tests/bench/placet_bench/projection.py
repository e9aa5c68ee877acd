"""Commit → visible in the projection, alone and under load."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence

from placet_bench import load
from placet_bench.figures import Figure, Report, at_most, percentile
from placet_bench.processes import child
from placet_bench.product import ProductCallers
from placet_bench.setting import Setting

# Requests a second that leave a small machine room to breathe, and each commits several times.
STEADY = 8
POLICY = "bench-quick"
WHAT = "commit → visible"


async def measure(setting: Setting) -> Report:
    """One request at a time, at a steady rate, and with as many callers as the machine can bear."""
    product = await setting.shared()
    play = product.playing(POLICY)
    seconds = 3 if setting.quick else 15
    alone = await lags(product, load.play_all(play, 10 * seconds, 1))
    steady = await lags(product, load.play_at_rate(play, STEADY * seconds, STEADY))
    busy = await lags(product, load.play_all(play, 20 * seconds, setting.concurrency))
    setting.say(f"commit → visible: {len(alone)}, {len(steady)} and {len(busy)} entries")
    return Report(
        (
            *_figures("one request at a time", alone),
            *_figures(f"{STEADY} requests/s", steady),
            *_figures(f"saturated, {setting.concurrency} callers", busy),
        )
    )


def _figures(load_name: str, lags: Sequence[float]) -> tuple[Figure, Figure]:
    return (
        Figure(f"{WHAT}, {load_name}, p50", percentile(lags, 0.5), "ms", target=at_most(3)),
        Figure(f"{WHAT}, {load_name}, p95", percentile(lags, 0.95), "ms", target=at_most(10)),
    )


async def lags(product: ProductCallers, busy: Coroutine[object, object, None]) -> list[float]:
    """Milliseconds for each entry that this load commits."""
    home, base = product.stack.home.path, product.stack.ports.base
    command = (sys.executable, "-m", "placet_bench.projection_probe", str(home), str(base))
    pipe = asyncio.subprocess.PIPE
    async with child(command, stdin=pipe, stdout=pipe) as probe:
        if probe.stdin is None or probe.stdout is None:
            raise AssertionError("pipes were asked for")
        await probe.stdout.readline()
        await busy
        probe.stdin.close()
        found: list[float] = json.loads(await probe.stdout.read())
        return found
