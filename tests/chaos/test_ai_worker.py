"""A worker that dies while the AI thinks is noticed by its silence, not by the attempt's own long timeout."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.model import FakeModel, serving_model, verdict
from placet_testing.stack import running_test_stack

pytestmark = pytest.mark.integration

# 2 h → 0.72 s, 4 h → 1.44 s: the AI is asked after two seconds of silence.
CLOCK_SCALE = 10_000
# Well below the 90 s that an attempt may take, and far above the 15 s of silence.
NOTICED = 60.0
# No amount and no finding by which the policy would keep an AI from approving it.
HARMLESS = approval_pb2.Content(body=b"Publish the release notes.\n", media_type="text/plain")


@pytest.mark.timeout(300)
async def test_the_fallback_of_a_killed_worker_is_asked_again_before_its_attempt_times_out(
    tmp_path: Path,
) -> None:
    model = FakeModel(hold=asyncio.Event())
    model.says(verdict())
    async with serving_model(model):
        environment = {
            **os.environ,
            "PLACET_OPENAI_BASE_URL": model.base_url,
            "PLACET_OPENAI_MODEL": "thoughtful",
        }
        started = running_test_stack(
            tmp_path, clock_scale=CLOCK_SCALE, failpoints=False, environment=environment
        )
        async with started as stack:
            approval_id = await stack.request("escalating", title="Notes", content=HARMLESS)

            async def asked() -> bool:
                return bool(model.seen)

            await until(asked, "the AI is asked", EVENTUALLY)
            stack.kill("worker-openai")
            assert model.hold is not None
            model.hold.set()
            outcome = await stack.outcome(approval_id, within=NOTICED)
            assert outcome.source == event_pb2.SOURCE_AI_FALLBACK
            assert outcome.state == event_pb2.STATE_APPROVED
