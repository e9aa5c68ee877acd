"""kill -9 of any one process while requests are pending loses nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from functools import partial

import pytest

from placet.event.v1 import event_pb2
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.stack import ALICE, Stack

pytestmark = pytest.mark.integration

PENDING = 6
PROCESSES = (
    "temporal",
    "audit",
    "approval",
    "decision",
    "notification",
    "witness",
    "worker-default",
    "worker-openai",
    "worker-ml",
    "mail",
    "spans",
)


async def effective(stack: Stack, approval_id: str, command_id: str) -> bool:
    """Sends a decision; whether it took effect. What is unknown is sent again with the same id."""
    processed = await stack.processed(approval_id, ALICE, command_id)
    return processed is not None and processed.refusal is None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROCESSES)
async def test_a_process_killed_while_requests_are_pending_loses_none(stack: Stack, name: str) -> None:
    ids = await stack.all_waiting(PENDING, "document", "simple")
    # Those are still being asked when it is killed.
    ids += await asyncio.gather(stack.request("document"), stack.request("simple"))
    killed = stack.pid(name)
    stack.kill(name)
    decisions = {approval_id: str(uuid.uuid4()) for approval_id in ids}
    await asyncio.gather(
        *(
            until(partial(effective, stack, one, decisions[one]), f"{one} is decided", EVENTUALLY)
            for one in ids[:-2]
        )
    )

    async def back() -> bool:
        return stack.supervisor.ready(name) and stack.pid(name) != killed

    await until(back, f"{name} is back", EVENTUALLY)
    # What was being asked when it was killed goes on too.
    for approval_id in ids[-2:]:
        await stack.waiting(approval_id)
        decide = partial(effective, stack, approval_id, decisions[approval_id])
        await until(decide, "it is decided", EVENTUALLY)
    for approval_id in ids:
        shown = await stack.get(approval_id)
        assert shown.outcome.state == event_pb2.STATE_APPROVED
        path = Counter(str(event.WhichOneof("body")) for event in await stack.path(approval_id))
        assert (path["voted"], path["decided"], path["closed"]) == (1, 1, 1)
        assert [one.entry.event.WhichOneof("body") for one in shown.path] == [
            event.WhichOneof("body") for event in await stack.path(approval_id)
        ]
