"""A pre-screen's and a fallback's result, from the decision contract to the workflow's events."""

from __future__ import annotations

from placet.decision.v1 import decision_pb2, decision_service_pb2
from placet.event.v1 import event_pb2
from placet_domain.events import AiDecided, AiResult, PreScreened, ScreenMode, Verdict
from placet_domain.facts import FoundFacts
from placet_mapping.mapper import from_proto, to_proto
from placet_workflows.activity_types import AssessInput, AssessResult, DecideInput, DecideResult

# Characters of a model's name in an event, by the contract. A longer one must not make the event unloggable.
MODEL_LIMIT = 200


def assess_request(step: AssessInput) -> decision_service_pb2.AssessRiskRequest:
    """The RPC's request for activity `assess_risk`."""
    return decision_service_pb2.AssessRiskRequest(
        idempotency_key=step.idempotency_key,
        approval_id=step.approval_id,
        content_digest=bytes.fromhex(step.content_digest),
        mode=event_pb2.ScreenMode.Value(f"SCREEN_MODE_{step.mode}"),
        priority=event_pb2.Priority.Value(f"PRIORITY_{step.priority}"),
        policy=step.policy,
    )


def assess_result(response: decision_service_pb2.AssessRiskResponse) -> AssessResult:
    """The activity's result from the RPC's answer."""
    assessment = response.assessment
    return AssessResult(
        result=PreScreened(
            result=_result(assessment.result),
            mode=ScreenMode(event_pb2.ScreenMode.Name(assessment.mode).removeprefix("SCREEN_MODE_")),
            risk=assessment.risk if assessment.HasField("risk") else None,
            confidence=assessment.confidence if assessment.HasField("confidence") else None,
            model=_model(assessment.provenance),
            reasoning=assessment.reasoning,
            prompt_digest=assessment.provenance.prompt_digest.hex(),
            input_digest=assessment.provenance.input_digest.hex(),
            found=from_proto(assessment.found, FoundFacts),
            parts=tuple(assessment.provenance.parts),
        ),
        deep_available=response.deep_available,
    )


def decide_request(step: DecideInput) -> decision_service_pb2.DecideRequest:
    """The RPC's request for activity `decide`."""
    request = decision_service_pb2.DecideRequest(
        idempotency_key=step.idempotency_key,
        approval_id=step.approval_id,
        content_digest=bytes.fromhex(step.content_digest),
        priority=event_pb2.Priority.Value(f"PRIORITY_{step.priority}"),
        policy=step.policy,
        circumstances=step.circumstances,
    )
    if step.pre_screened is not None:
        request.pre_screen.CopyFrom(to_proto(step.pre_screened, event_pb2.PreScreened))
    return request


def decide_result(response: decision_service_pb2.DecideResponse) -> DecideResult:
    """The activity's result from the RPC's answer."""
    decision = response.decision
    return DecideResult(
        result=AiDecided(
            result=_result(decision.result),
            verdict=Verdict(event_pb2.Verdict.Name(decision.verdict).removeprefix("VERDICT_")),
            confidence=decision.confidence if decision.HasField("confidence") else None,
            model=_model(decision.provenance),
            reasoning=decision.reasoning,
            prompt_digest=decision.provenance.prompt_digest.hex(),
            input_digest=decision.provenance.input_digest.hex(),
            found=from_proto(decision.found, FoundFacts),
            parts=tuple(decision.provenance.parts),
        )
    )


def _result(result: event_pb2.AiResult.ValueType) -> AiResult:
    return AiResult(event_pb2.AiResult.Name(result).removeprefix("AI_RESULT_"))


def _model(provenance: decision_pb2.Provenance) -> str:
    return f"{provenance.provider}/{provenance.model}"[:MODEL_LIMIT] if provenance.provider else ""
