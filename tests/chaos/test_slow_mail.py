"""A mail server that takes connections and says nothing: nobody's decision waits for it.

The first attempt of each notice holds one of the worker's hundred workflow tasks, for half a second at most.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from functools import partial

import pytest

from placet.notification.v1 import notification_pb2
from placet.notification.v1.notification_service_pb2 import ListDeliveriesRequest
from placet_testing.stack import ALICE, EVENTUALLY, SOON, Stack, answered, until

# More than the workflow tasks that a worker runs at a time.
NEW = 110
OTHERS = 15


async def decide_each(stack: Stack, ids: Sequence[str]) -> None:
    """Approves them, one after the other; each takes effect."""
    for approval_id in ids:
        decide = partial(stack.judged, approval_id, ALICE, str(uuid.uuid4()))
        judged = await until(decide, f"the decision about {approval_id} is judged", EVENTUALLY)
        assert judged.word == "EFFECTIVE"


async def under_way(stack: Stack, subject: str, number: int) -> bool:
    """Whether so many are being told of a subject. None of them may have been told."""
    notification = await stack.notification()
    request = ListDeliveriesRequest(page_size=500)
    listed = await answered(notification.ListDeliveries(request, timeout=SOON))
    if listed is None:
        return False
    found = [one for one in listed.deliveries if one.notification.subject_id == subject]
    assert {one.status for one in found} <= {notification_pb2.DELIVERY_STATUS_PENDING}
    return sum(one.attempts >= 1 for one in found) >= number


async def nothing_pending(stack: Stack, approval_id: str) -> bool:
    """Whether a request's workflow waits for nothing but people."""
    described = await (await stack.temporal()).get_workflow_handle(approval_id).describe()
    return not described.raw_description.pending_activities


@pytest.mark.timeout(600)
async def test_decisions_take_effect_while_mail_stands_still_and_everybody_is_told_later(
    stack: Stack,
) -> None:
    subject = str(uuid.uuid4())
    others = [await stack.request() for _ in range(OTHERS)]
    for approval_id in others:
        await stack.waiting(approval_id)
    with stack.stopped("mail"):
        asked = asyncio.gather(*(stack.request(subject_id=subject) for _ in range(NEW)))
        await until(partial(under_way, stack, subject, 1), "somebody is being told", EVENTUALLY)
        await decide_each(stack, others[: OTHERS // 2])
        new = await asked
        await until(partial(under_way, stack, subject, NEW), "all are being told", EVENTUALLY)
        await decide_each(stack, others[OTHERS // 2 :])
        # All that took effect before the first of them was told.
        assert await until(partial(under_way, stack, subject, NEW), "all are being told still")
    for approval_id in new:
        await stack.waiting(approval_id)
        await until(partial(nothing_pending, stack, approval_id), "the asked is told", EVENTUALLY)
