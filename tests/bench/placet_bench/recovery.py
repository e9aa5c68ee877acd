"""kill -9 of the default worker while a request waits → the next decision is effective."""

from __future__ import annotations

import asyncio
import time

from placet_bench.decision import THOUGHT_SECONDS
from placet_bench.figures import Figure, Report, at_most, percentile
from placet_bench.setting import Setting
from placet_testing.conditions import EVENTUALLY, until

WORKER = "worker-default"


async def measure(setting: Setting) -> Report:
    """The workflow is idle when its worker dies; the decision comes at once after it. (Killed in mid-task:
    tests/chaos.)"""
    product = await setting.shared()
    seconds = []
    for _ in range(2 if setting.quick else 10):
        accepted = await product.create("simple")
        await product.asked(accepted.approval_id)
        await asyncio.sleep(THOUGHT_SECONDS)
        begun = time.perf_counter()
        product.stack.kill(WORKER)
        await product.decide(accepted)
        seconds.append(time.perf_counter() - begun)
        await until(lambda: product.stack.supervisor.ready(WORKER), f"{WORKER} is ready again", EVENTUALLY)
        await product.meter.rest()
    setting.say(f"kill -9 of {WORKER}: {', '.join(f'{one:.1f} s' for one in seconds)}")
    what = f"kill -9 of {WORKER} → next decision effective"
    return Report(
        (
            Figure(f"{what}, p50", percentile(seconds, 0.5), "s", target=at_most(2.5)),
            Figure(f"{what}, worst of {len(seconds)}", max(seconds), "s", target=at_most(2.5)),
        )
    )
