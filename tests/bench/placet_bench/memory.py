"""The default worker's memory with many requests pending, against its size with 100."""

from __future__ import annotations

from placet_bench import load
from placet_bench.cpu import megabytes
from placet_bench.figures import Figure, Report, Target, at_most, ratio_at_most
from placet_bench.product import ProductCallers, product_on
from placet_bench.setting import Setting

FEW = 100
# The quality goals are for this many.
MANY = 10_000


async def measure(setting: Setting) -> Report:
    """On a stack of its own, whose worker has done nothing else."""
    async with setting.stack() as stack, product_on(stack) as product:
        at_start = megabytes(stack.pid("worker-default"))
        few = await _with_pending(setting, product, FEW)
        many = await _with_pending(setting, product, setting.pending - FEW)
    what = f"default worker, {setting.pending:,} pending"
    return Report(
        (
            Figure("default worker, nothing pending", at_start, "MB"),
            _figure(what, many, few, at_most(150)),
            _figure(f"{what} ÷ {FEW} pending", many, few, ratio_at_most(1.3)),
        )
    )


def _figure(what: str, many: float, few: float, target: Target) -> Figure:
    return Figure(what, many, "MB", against=few, ratio=many / few, target=target)


async def _with_pending(setting: Setting, product: ProductCallers, more: int) -> float:
    async def create() -> None:
        accepted = await product.create("simple")
        await product.asked(accepted.approval_id)

    await load.play_all(create, more, setting.concurrency)
    await product.meter.rest()
    size = megabytes(product.stack.pid("worker-default"))
    setting.say(f"{more:,} more pending: {size:.0f} MB")
    return size
