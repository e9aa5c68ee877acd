"""Decision submitted → EFFECTIVE, one at a time, against the baseline's signal and result."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from itertools import chain

from placet_bench.figures import Figure, Report, paired, percentile, ratio_at_most
from placet_bench.setting import Setting

# A person takes longer: by then the request's workflow has nothing left to do.
THOUGHT_SECONDS = 0.25


async def measure(setting: Setting) -> Report:
    """Medians of the rounds, in pairs; p95 of all."""
    product, baseline = await setting.shared(), await setting.baseline()

    async def by_product() -> float:
        accepted = await product.create("simple")
        await product.asked(accepted.approval_id)
        await asyncio.sleep(THOUGHT_SECONDS)
        return await product.decide(accepted)

    async def by_baseline() -> float:
        handle = await baseline.create()
        await baseline.asked(handle.id)
        await asyncio.sleep(THOUGHT_SECONDS)
        return await baseline.decide(handle)

    await _several(by_product, 2)
    await _several(by_baseline, 2)
    own: list[list[float]] = []
    other: list[list[float]] = []
    for number in range(setting.rounds):
        for take, taken in [(by_product, own), (by_baseline, other)][:: 1 if number % 2 == 0 else -1]:
            taken.append(await _several(take, setting.samples))
    setting.say("decisions one at a time: done")
    p95, p95_of_baseline = (percentile(list(chain.from_iterable(each)), 0.95) for each in (own, other))
    return Report(
        (
            paired(
                "decision → EFFECTIVE ÷ signal → result, p50",
                "ms",
                [statistics.median(each) for each in own],
                [statistics.median(each) for each in other],
                ratio_at_most(0.7),
            ),
            Figure(
                "decision → EFFECTIVE ÷ signal → result, p95",
                p95,
                "ms",
                against=p95_of_baseline,
                ratio=p95 / p95_of_baseline,
            ),
        )
    )


async def _several(take: Callable[[], Awaitable[float]], times: int) -> list[float]:
    """Milliseconds."""
    return [1000 * await take() for _ in range(times)]
