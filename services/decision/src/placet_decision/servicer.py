"""The RPCs of DecisionService: pb2 ↔ domain."""

from __future__ import annotations

import copy
import hashlib
from typing import TypeAlias

from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.decision.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_decision.domain import (
    Account,
    AiDecision,
    Assessment,
    Case,
    Document,
    Feature,
    Found,
    Mode,
    PreScreen,
    Priority,
    Provenance,
    Result,
    Verdict,
)
from placet_decision.idempotency import Call, IdempotentAnswers
from placet_decision.providers import Provider
from placet_rpc import deadlines, identity
from placet_rpc.content import fetch_content

Asked: TypeAlias = decision_service_pb2.AssessRiskRequest | decision_service_pb2.DecideRequest

# Part of the caller's time that is kept for storing and sending the answer.
_KEPT_SECONDS = 0.25
# For calls without a deadline, which placet_rpc's clients never make.
_UNBOUNDED_SECONDS = 300.0

_PRIORITIES = {
    event_pb2.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    event_pb2.PRIORITY_URGENT: Priority.URGENT,
    event_pb2.PRIORITY_HIGH: Priority.HIGH,
    event_pb2.PRIORITY_NORMAL: Priority.NORMAL,
    event_pb2.PRIORITY_LOW: Priority.LOW,
}
_RESULTS = {
    Result.DECIDED: event_pb2.AI_RESULT_DECIDED,
    Result.ABSTAINED: event_pb2.AI_RESULT_ABSTAINED,
}
_MODES = {Mode.QUICK: event_pb2.SCREEN_MODE_QUICK, Mode.DEEP: event_pb2.SCREEN_MODE_DEEP}
_VERDICTS = {
    None: event_pb2.VERDICT_UNSPECIFIED,
    Verdict.APPROVE: event_pb2.VERDICT_APPROVE,
    Verdict.REJECT: event_pb2.VERDICT_REJECT,
}


class DecisionServicer(decision_service_pb2_grpc.DecisionServiceServicer):
    """DecisionService, as `decision_service.proto` defines it."""

    def __init__(
        self, answers: IdempotentAnswers, approvals: ApprovalServiceStub, provider: Provider
    ) -> None:
        """`approvals`: a stub whose channel carries this service's own token."""
        self._answers = answers
        self._approvals = approvals
        self._provider = provider

    async def AssessRisk(
        self,
        request: decision_service_pb2.AssessRiskRequest,
        context: object,
    ) -> decision_service_pb2.AssessRiskResponse:
        """The risk, as first assessed under this key."""
        deep = request.mode == event_pb2.SCREEN_MODE_DEEP

        async def work() -> bytes:
            case = await self._case(request)
            assessment = await self._provider.assess(case, Mode.DEEP if deep else Mode.QUICK, budget())
            return decision_service_pb2.AssessRiskResponse(
                assessment=from_assessment(assessment), deep_available=self._provider.deep_available
            ).SerializeToString()

        response = await self._answers.once(call_of(request), work, cheap=not deep)
        return decision_service_pb2.AssessRiskResponse.FromString(response)

    async def Decide(
        self,
        request: decision_service_pb2.DecideRequest,
        context: object,
    ) -> decision_service_pb2.DecideResponse:
        """The decision, as first made under this key."""

        async def work() -> bytes:
            decision = await self._provider.decide(await self._case(request), budget())
            return decision_service_pb2.DecideResponse(decision=from_decision(decision)).SerializeToString()

        response = await self._answers.once(call_of(request), work)
        return decision_service_pb2.DecideResponse.FromString(response)

    async def _case(self, request: Asked) -> Case:
        tenant = identity.current().tenant
        found = await fetch_content(self._approvals, tenant, request.approval_id, request.content_digest)
        gaps = tuple((kind, count) for kind, count, _ in found.gaps)
        document = Document(
            found.title, found.text, found.media_type, found.whole, gaps, tuple(found.facts.items())
        )
        priority = _PRIORITIES[request.priority]
        account = Account(tenant, request.approval_id, request.policy)
        if isinstance(request, decision_service_pb2.AssessRiskRequest):
            return Case(document, priority, account=account)
        return Case(document, priority, to_pre_screen(request), request.circumstances, account)


def budget() -> float:
    """Seconds that a provider may take: the call's remaining time, less what storing and sending need."""
    left = deadlines.remaining()
    return _UNBOUNDED_SECONDS if left is None else left - _KEPT_SECONDS


def call_of(request: Asked) -> Call:
    """The call's key among its program's, and the SHA-256 of the rest: the RPC and its request without it."""
    payload = copy.copy(request)  # in protobuf a deep copy
    payload.ClearField("idempotency_key")
    asked = payload.DESCRIPTOR.full_name.encode() + b"\0" + payload.SerializeToString(deterministic=True)
    caller = identity.current()
    return Call(
        caller.tenant,
        caller.own_key(request.idempotency_key),
        request.approval_id,
        hashlib.sha256(asked).digest(),
    )


def to_pre_screen(request: decision_service_pb2.DecideRequest) -> PreScreen | None:
    """The pre-screen's result; None without one. Its reasoning repeats content, so it is left out."""
    seen = request.pre_screen
    if seen.result != event_pb2.AI_RESULT_DECIDED:
        return None
    return PreScreen(seen.risk, seen.confidence, seen.model)


def from_assessment(assessment: Assessment) -> decision_pb2.Assessment:
    """The contract's form of an assessment."""
    return decision_pb2.Assessment(
        result=_RESULTS[assessment.result],
        mode=_MODES[assessment.mode],
        risk=assessment.risk,
        confidence=assessment.confidence,
        reasoning=assessment.reasoning,
        features=[_feature(feature) for feature in assessment.features],
        provenance=_provenance(assessment.provenance),
        found=_found(assessment.found),
    )


def from_decision(decision: AiDecision) -> decision_pb2.AiDecision:
    """The contract's form of a decision."""
    return decision_pb2.AiDecision(
        result=_RESULTS[decision.result],
        verdict=_VERDICTS[decision.verdict],
        confidence=decision.confidence,
        reasoning=decision.reasoning,
        features=[_feature(feature) for feature in decision.features],
        provenance=_provenance(decision.provenance),
        found=_found(decision.found),
    )


def _feature(feature: Feature) -> decision_pb2.Feature:
    return decision_pb2.Feature(name=feature.name, weight=feature.weight, evidence=feature.evidence)


def _provenance(provenance: Provenance) -> decision_pb2.Provenance:
    return decision_pb2.Provenance(
        provider=provenance.provider,
        model=provenance.model,
        prompt_digest=provenance.prompt_digest,
        input_digest=provenance.input_digest,
        parts=provenance.parts,
    )


def _found(found: Found) -> event_pb2.FoundFacts:
    return event_pb2.FoundFacts(
        amounts=[
            event_pb2.Amount(value=format(value.normalize(), "f"), currency=currency)
            for currency, value in sorted(found.amounts.items())
        ],
        firm=found.firm,
        tampering=found.tampering,
        form=found.form,
        paths=[event_pb2.Erasable(value=path) for path in found.paths or ()],
        paths_complete=found.paths is not None,
    )
