"""Content that takes long to read delays no other tenant, and ends in an abstention."""

from __future__ import annotations

import asyncio

import pytest

from placet_decision.domain import Account, Case, Document, Mode, Result
from placet_decision.providers import Provider
from placet_decision.providers.reader import INLINE_CHARACTERS, Reader
from placet_jobs import WAITING, Limits
from placet_rpc.errors import ResourceExhausted

pytestmark = pytest.mark.integration

MEBIBYTE = 1 << 20
# Each takes some seconds to read, because it makes some rule or detector try often.
SLOW = ["1,", "€1,", "aa11 ", "<!--", "-a\n"]


def case(text: str, tenant: str) -> Case:
    return Case(Document("", text, "text/plain"), account=Account(tenant))


def slow_case(unit: str, tenant: str) -> Case:
    return case(unit * (MEBIBYTE // len(unit.encode())), tenant)


@pytest.fixture
async def provider() -> Provider:
    provider = Provider()
    await provider.assess(case("a" * (INLINE_CHARACTERS + 1), "first"), Mode.QUICK, 60)
    return provider


@pytest.mark.parametrize("unit", SLOW)
async def test_a_tenant_is_answered_while_anothers_contents_are_read(provider: Provider, unit: str) -> None:
    stuck = [asyncio.create_task(provider.assess(slow_case(unit, "slow"), Mode.QUICK, 60)) for _ in range(6)]
    await asyncio.sleep(0)

    short = await provider.assess(case("Please pay EUR 950.", "other"), Mode.QUICK, 60)
    long = await provider.assess(case("Please pay EUR 950.\n" * 1000, "other"), Mode.QUICK, 60)

    assert (short.result, long.result) == (Result.DECIDED, Result.DECIDED)
    assert sum(not one.done() for one in stuck) >= len(stuck) - 1
    for one in stuck:
        one.cancel()
    await asyncio.wait(stuck)


async def test_what_cannot_be_read_within_the_limits_is_an_abstention() -> None:
    provider = Provider(reader=Reader(Limits(seconds=0.1)))
    slow = slow_case("<!--", "acme")

    assessment, decision = await asyncio.gather(
        provider.assess(slow, Mode.QUICK, 60), provider.decide(slow, 60)
    )

    assert (assessment.result, assessment.risk) == (Result.ABSTAINED, 0.0)
    assert (decision.result, decision.verdict) == (Result.ABSTAINED, None)
    for reasoning in (assessment.reasoning, decision.reasoning):
        assert reasoning == "The content takes too long or too much memory for the rules to read."


async def test_a_tenant_with_too_many_contents_waiting_is_refused_alone(provider: Provider) -> None:
    slow = slow_case("<!--", "slow")
    waiting = [asyncio.create_task(provider.decide(slow, 60)) for _ in range(WAITING + 1)]
    await asyncio.sleep(0)

    with pytest.raises(ResourceExhausted) as refused:
        await provider.decide(slow, 60)
    assert (refused.value.reason, refused.value.metadata) == ("TENANT_BUSY", {"limit": str(WAITING)})
    assert (await provider.decide(case("Lunch.\n" * 1000, "other"), 60)).reasoning

    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
