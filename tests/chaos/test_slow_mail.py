"""A mail server that takes connections and says nothing: nobody's decision waits for it.

The first attempt of each notice holds one of the worker's hundred workflow tasks, for half a second at most.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from contextlib import nullcontext
from functools import partial

import pytest

from placet.approval.v1 import approval_pb2
from placet_testing.stack import ALICE, EVENTUALLY, Stack, until

# More than the workflow tasks that a worker runs at a time.
NEW = 110
OTHERS = 15


async def effective(stack: Stack, approval_id: str, decision_id: str) -> bool:
    """Sends a decision; whether it took effect."""
    answer = await stack.decide(approval_id, ALICE, decision_id=decision_id)
    return answer.status == approval_pb2.COMMAND_STATUS_EFFECTIVE


async def with_many_to_tell(stack: Stack, *, stalled: bool) -> tuple[float, list[str]]:
    """The median seconds from a decision to its effect while many are to be told; and their requests."""
    others = [await stack.request() for _ in range(OTHERS)]
    for approval_id in others:
        await stack.waiting(approval_id)
    took = []
    with stack.stopped("mail") if stalled else nullcontext():
        new = asyncio.gather(*(stack.request() for _ in range(NEW)))
        for approval_id in others:
            began = time.monotonic()
            decide = partial(effective, stack, approval_id, str(uuid.uuid4()))
            await until(decide, "the decision takes effect", EVENTUALLY)
            took.append(time.monotonic() - began)
        return statistics.median(took), list(await new)


async def nothing_pending(stack: Stack, approval_id: str) -> bool:
    """Whether a request's workflow waits for nothing but people."""
    described = await (await stack.temporal()).get_workflow_handle(approval_id).describe()
    return not described.raw_description.pending_activities


@pytest.mark.timeout(400)
async def test_decisions_stay_quick_while_mail_stands_still_and_everybody_is_told_later(stack: Stack) -> None:
    usual, _ = await with_many_to_tell(stack, stalled=False)
    stalled, new = await with_many_to_tell(stack, stalled=True)
    assert stalled < 2 * usual + 1
    for approval_id in new:
        await stack.waiting(approval_id)
        await until(partial(nothing_pending, stack, approval_id), "the asked is told", EVENTUALLY)
