"""A mail server that takes connections and says nothing: nobody's decision waits for it.

The first attempt of each notice holds one of the worker's hundred workflow tasks, for a second at most.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest

from placet.notification.v1.notification_pb2 import DELIVERY_STATUS_PENDING
from placet.notification.v1.notification_service_pb2 import ListDeliveriesRequest
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.stack import ALICE, Stack, answered, running_test_stack

pytestmark = pytest.mark.integration

# More than the workflow tasks that a worker runs at a time.
NEW = 110
OTHERS = 15
# Seconds that an attempt to tell somebody may take: longer than the test, so that none ends before the mail
# server goes on, and a task that waits for one is held for as long.
ATTEMPT = 600
FIRST_ATTEMPT = (DELIVERY_STATUS_PENDING, 1)


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of its own, whose attempts to tell somebody are that long."""
    environment = {**os.environ, "PLACET_NOTIFICATION_ATTEMPT_SECONDS": str(ATTEMPT)}
    folder = tmp_path_factory.mktemp("slow-mail")
    async with running_test_stack(folder, failpoints=False, environment=environment) as running:
        yield running


async def decide_each(stack: Stack, ids: Sequence[str]) -> None:
    """Approves them, one after the other; each takes effect."""
    for approval_id in ids:
        decide = partial(stack.processed, approval_id, ALICE, str(uuid.uuid4()))
        processed = await until(decide, f"the decision about {approval_id} is processed", EVENTUALLY)
        assert processed.word == "EFFECTIVE"


async def under_way(stack: Stack, subject: str, number: int) -> bool:
    """True if at least so many notices of a subject are under way; none may be delivered or repeated."""
    notification = await stack.notification()
    request = ListDeliveriesRequest(page_size=500)
    listed = await answered(notification.ListDeliveries(request, timeout=SOON))
    if listed is None:
        return False
    found = [one for one in listed.deliveries if one.notification.subject_id == subject]
    assert {(one.status, one.attempts) for one in found} <= {(DELIVERY_STATUS_PENDING, 0), FIRST_ATTEMPT}
    return sum((one.status, one.attempts) == FIRST_ATTEMPT for one in found) >= number


async def activities(stack: Stack, approval_id: str, number: int) -> bool:
    """True if a request's workflow waits for so many activities, none of which holds a task."""
    described = await (await stack.temporal()).get_workflow_handle(approval_id).describe()
    return len(described.raw_description.pending_activities) == number


@pytest.mark.timeout(ATTEMPT)
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
        for approval_id in new:
            await until(partial(activities, stack, approval_id, 1), "its task is free again", EVENTUALLY)
        await decide_each(stack, others[OTHERS // 2 :])
        # All that took effect before the first of them was told.
        assert await until(partial(under_way, stack, subject, NEW), "all are being told still")
    for approval_id in new:
        await stack.waiting(approval_id)
        await until(partial(activities, stack, approval_id, 0), "the asked is told", EVENTUALLY)
