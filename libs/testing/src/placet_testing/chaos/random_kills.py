"""Requests and decisions while processes are killed at random: none may be lost, doubled or contradicted."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from placet.event.v1 import event_pb2
from placet_rpc.errors import PlacetError
from placet_testing.conditions import until
from placet_testing.stack import ALICE, Stack, a_request

VICTIMS = ("temporal", "audit", "approval", "decision", "notification", "worker-default")
AT_ONCE = 10
PATIENCE = 240.0


@dataclass
class KillRun:
    """Result of the run: `faults` names each broken promise, and is empty."""

    decisions: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


async def random_kills(
    stack: Stack,
    *,
    decisions: int,
    kills: int,
    seed: int,
    progress: Callable[[KillRun], None] = lambda _run: None,
) -> KillRun:
    """Takes `decisions` requests to their end, each retried by the same ids until it is answered, while at
    least `kills` processes are killed. Then compares answers, log and view. A request that never ends is a
    fault, and the others go on."""
    run = KillRun()
    # Not for secrets: the run shall be the same again.
    chance = random.Random(seed)  # noqa: S311 - see above
    bound = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with bound:
            try:
                await _to_its_end(stack, run)
            except (AssertionError, PlacetError) as error:
                run.faults.append(f"{type(error).__name__}: {error}")
            run.decisions += 1
            progress(run)

    requests = [asyncio.create_task(one()) for _ in range(decisions)]
    while kills > run.kills.total():
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        victim = chance.choice(VICTIMS)
        if stack.supervisor.ready(victim):
            stack.kill(victim)
            run.kills[victim] += 1
    await asyncio.gather(*requests)
    return run


async def _to_its_end(stack: Stack, run: KillRun) -> None:
    sent = partial(stack.sent, a_request())
    approval_id = await until(sent, "it is accepted", PATIENCE)
    digest = (await stack.waiting(approval_id, PATIENCE)).content_digest
    decide = partial(stack.processed, approval_id, ALICE, str(uuid.uuid4()), digest)
    answer = await until(decide, "the decision is processed", PATIENCE)
    path = await stack.path(approval_id, PATIENCE)
    counted = Counter(str(event.WhichOneof("body")) for event in path)
    once = ("received", "processed", "tier_opened", "voted", "decided", "closed")
    if answer.refusal is not None or any(counted[kind] != 1 for kind in once) or counted["refused"]:
        run.faults.append(f"{approval_id}: answered {answer.word}, logged {dict(counted)}")
    shown = await stack.get(approval_id, PATIENCE)
    if shown.outcome.state != event_pb2.STATE_APPROVED:
        run.faults.append(f"{approval_id}: the view says {shown.outcome}")
