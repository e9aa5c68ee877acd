"""The activities of queue placet-openai: each is DTO → request → one RPC → DTO."""

from __future__ import annotations

from typing import Final

from temporalio import activity

from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet_mapping.assessments import assess_request, assess_result, decide_request, decide_result
from placet_temporal.calls import one_call
from placet_temporal.heartbeat import heartbeats
from placet_workflows.activity_types import AssessInput, AssessResult, DecideInput, DecideResult
from placet_workflows.names import Activity

# Seconds between heartbeats; most answers come before the first.
BEAT: Final = 5.0


class OpenAiActivities:
    """Holds the stub that the activities call."""

    def __init__(self, decision: DecisionServiceStub) -> None:
        self._decision = decision

    @activity.defn(name=Activity.ASSESS_RISK)
    async def assess_risk(self, step: AssessInput) -> AssessResult:
        """DecisionService.AssessRisk, deep."""
        async with heartbeats(BEAT):
            with one_call(step.tenant) as timeout:
                return assess_result(await self._decision.AssessRisk(assess_request(step), timeout=timeout))

    @activity.defn(name=Activity.DECIDE)
    async def decide(self, step: DecideInput) -> DecideResult:
        """DecisionService.Decide: the fallback."""
        async with heartbeats(BEAT):
            with one_call(step.tenant) as timeout:
                return decide_result(await self._decision.Decide(decide_request(step), timeout=timeout))
