"""Many callers that send one and the same request at once, and how many requests that made."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from placet.approval.v1.approval_service_pb2 import ListApprovalsRequest
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.stack import CALLER, Stack, a_request, answered
from placet_workflows.names import APPROVAL_WORKFLOW

CALLERS = 100
# Keys at a time: their calls are all in flight together.
KEYS_AT_ONCE = 4
# Between two looks at Temporal's list, in seconds.
SETTLING = 1.0


@dataclass
class DuplicateRun:
    """Result of the run: `faults` names each broken promise, and is empty."""

    keys: int = 0
    # Workflows more than before, by Temporal's own list.
    workflows: int = 0
    faults: list[str] = field(default_factory=list)


async def send_duplicates(
    stack: Stack, keys: int, progress: Callable[[DuplicateRun], None] = lambda _run: None
) -> DuplicateRun:
    """For each of `keys` request ids, sends one request a hundred times at once, each until it is answered.
    Then compares the ids that were answered with the log, with the view, and with Temporal's workflows."""
    found, ids, bound = DuplicateRun(), set[str](), asyncio.Semaphore(KEYS_AT_ONCE)
    before, shown_before = await _workflows(stack), await _shown(stack)

    async def one() -> None:
        async with bound:
            ids.update(await _at_once(stack, found))
            found.keys += 1
            progress(found)

    await asyncio.gather(*(one() for _ in range(keys)))
    if len(ids) != keys:
        found.faults.append(f"{keys} keys made {len(ids)} requests")

    for approval_id in ids:
        await stack.waiting(approval_id)
    last = await stack.request()
    await stack.waiting(last)
    made = await _settled(stack, last) - before
    found.workflows = made.total() - made[last]
    if made != Counter(ids | {last}):
        found.faults.append(f"{keys} keys made the workflows {sorted(made.elements())}, the last is {last}")
    shown = await _shown(stack) - shown_before
    if shown != ids | {last}:
        found.faults.append(f"{keys} keys made the view show {sorted(shown)}, the last is {last}")
    return found


async def _settled(stack: Stack, last: str) -> Counter[str]:
    """Temporal's workflows by its own list, which follows a moment behind: once the last one that was started
    is in it, and nothing more comes."""
    listed = Counter[str]()

    async def settled() -> bool:
        nonlocal listed
        earlier, listed = listed, await _workflows(stack)
        return last in listed and listed == earlier

    await until(settled, f"Temporal lists {last}, and nothing more comes", EVENTUALLY, pause=SETTLING)
    return listed


async def _at_once(stack: Stack, found: DuplicateRun) -> set[str]:
    request = a_request()
    answered = (until(partial(stack.sent, request), "it is accepted", EVENTUALLY) for _ in range(CALLERS))
    ids = set(await asyncio.gather(*answered))
    if len(ids) != 1:
        found.faults.append(f"{request.request_id} was answered with {sorted(ids)}")
    for approval_id in ids:
        counted = Counter(str(event.WhichOneof("body")) for event in await stack.path(approval_id))
        if counted["received"] != 1:
            found.faults.append(f"{approval_id} was received {counted['received']} times")
    return ids


async def _workflows(stack: Stack) -> Counter[str]:
    """Number of workflow runs by workflow id."""
    runs = (await stack.temporal()).list_workflows(f"WorkflowType = '{APPROVAL_WORKFLOW}'")
    return Counter([run.id async for run in runs])


async def _shown(stack: Stack) -> set[str]:
    """All requests that the view shows to whoever made them."""
    caller, request = await stack.as_(CALLER), ListApprovalsRequest(page_size=500)
    shown = set[str]()
    while True:
        page = await until(lambda: answered(caller.ListApprovals(request, timeout=SOON)), "the view answers")
        shown.update(approval.approval_id for approval in page.approvals)
        if not page.next_page_token:
            return shown
        request.page_token = page.next_page_token
