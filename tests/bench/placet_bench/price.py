"""Cost of tracing and of the sandbox: two new stacks, one with and one without, in half as many rounds.

Both are new, because a stack gets slower with what it holds, and the one of the other rounds holds much.
"""

from __future__ import annotations

from collections.abc import Mapping

from placet_bench.figures import Report, paired
from placet_bench.product import product_on
from placet_bench.setting import Setting
from placet_bench.throughput import rounds

POLICY = "bench-quick"


async def tracing(setting: Setting) -> Report:
    """Every request traced and exported to the local span store, against no request sampled."""
    return await _price(setting, "tracing", {"OTEL_TRACES_SAMPLER": "always_off"})


async def sandbox(setting: Setting) -> Report:
    """Workflow code in the SDK's sandbox, against without, as it is by default."""
    return await _price(setting, "sandbox", {"PLACET_WORKER_SANDBOX": "true"}, usual="without")


async def _price(setting: Setting, name: str, extra: Mapping[str, str], usual: str = "with") -> Report:
    """`extra` makes the second stack the one without it, or with it where the usual one is without."""
    unusual = "without" if usual == "with" else "with"
    async with (
        setting.stack() as as_it_comes,
        setting.stack(extra) as changed,
        product_on(as_it_comes) as product,
        product_on(changed) as other,
    ):
        runs = await rounds(
            setting,
            {
                f"{usual} {name}": (product.playing(POLICY), product.meter),
                f"{unusual} {name}": (other.playing(POLICY), other.meter),
            },
            (setting.rounds + 1) // 2,
        )
    own, against = runs[f"with {name}"], runs[f"without {name}"]
    return Report(
        (
            paired(
                f"with {name} ÷ without: throughput",
                "/s",
                [run.per_second for run in own],
                [run.per_second for run in against],
            ),
            paired(
                f"with {name} ÷ without: CPU each",
                "ms",
                [run.cpu_ms() for run in own],
                [run.cpu_ms() for run in against],
            ),
        )
    )
