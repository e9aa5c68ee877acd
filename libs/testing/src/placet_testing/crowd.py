"""Many callers that send one and the same request at once, and how many requests that made."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from placet_testing.stack import EVENTUALLY, Stack, a_request, until
from placet_workflows.names import APPROVAL_WORKFLOW

CALLERS = 100
# Keys at a time: their calls are all in flight together.
KEYS_AT_ONCE = 4


@dataclass
class Crowd:
    """What became of it: `faults` says what must not be, and is empty."""

    keys: int = 0
    # How many more there are than before, by Temporal's own count.
    workflows: int = 0
    faults: list[str] = field(default_factory=list)


async def crowd(stack: Stack, keys: int, progress: Callable[[Crowd], None] = lambda _crowd: None) -> Crowd:
    """For each of `keys` request ids, sends one request a hundred times at once, each until it is answered.
    Then counts the ids that were answered, the entries in the log, and Temporal's workflows."""
    found, ids, bound = Crowd(), set[str](), asyncio.Semaphore(KEYS_AT_ONCE)
    before = await _workflows(stack)

    async def one() -> None:
        async with bound:
            ids.update(await _at_once(stack, found))
            found.keys += 1
            progress(found)

    await asyncio.gather(*(one() for _ in range(keys)))
    if len(ids) != keys:
        found.faults.append(f"{keys} keys made {len(ids)} requests")

    async def counted() -> bool:
        # Temporal's count follows a moment behind.
        found.workflows = await _workflows(stack) - before
        return found.workflows >= keys

    await until(counted, f"Temporal counts {keys} workflows", EVENTUALLY, pause=0.2)
    if found.workflows != keys:
        found.faults.append(f"{keys} keys made {found.workflows} workflows")
    return found


async def _at_once(stack: Stack, found: Crowd) -> set[str]:
    request = a_request()
    answered = (until(partial(stack.sent, request), "it is accepted", EVENTUALLY) for _ in range(CALLERS))
    ids = set(await asyncio.gather(*answered))
    if len(ids) != 1:
        found.faults.append(f"{request.request_id} was answered with {sorted(ids)}")
    for approval_id in ids:
        path = await until(partial(stack.path, approval_id), "the log answers", EVENTUALLY)
        counted = Counter(str(event.WhichOneof("body")) for event in path)
        if counted["received"] != 1:
            found.faults.append(f"{approval_id} was received {counted['received']} times")
    return ids


async def _workflows(stack: Stack) -> int:
    counted = await (await stack.temporal()).count_workflows(f"WorkflowType = '{APPROVAL_WORKFLOW}'")
    return counted.count
