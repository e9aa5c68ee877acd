"""DecisionService over gRPC, with all interceptors, and an ApprovalService that a test scripts behind it."""

import asyncio
import hashlib
import uuid
from typing import Any

import pytest

from placet.decision.v1 import decision_service_pb2
from placet.event.v1 import event_pb2
from placet_rpc.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from placet_rpc.identity import acting_for

pytestmark = pytest.mark.integration

# Types of conftest, which tests cannot import by name.
Stack = Any
PAYMENT = b"Please pay invoice 4711 over EUR 48,000 to IBAN DE89 3704 0044 0532 0130 00."
MENU = b"Monday: lentil soup with bread\nTuesday: baked potatoes"
ID = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"


def assess_request(digest: bytes, key: str = "", **more: Any) -> decision_service_pb2.AssessRiskRequest:
    return decision_service_pb2.AssessRiskRequest(
        **{
            "idempotency_key": key or str(uuid.uuid4()),
            "approval_id": ID,
            "content_digest": digest,
            "mode": event_pb2.SCREEN_MODE_DEEP,
            "priority": event_pb2.PRIORITY_HIGH,
            **more,
        }
    )


def decide_request(digest: bytes, key: str = "", **more: Any) -> decision_service_pb2.DecideRequest:
    return decision_service_pb2.DecideRequest(
        **{
            "idempotency_key": key or str(uuid.uuid4()),
            "approval_id": ID,
            "content_digest": digest,
            "priority": event_pb2.PRIORITY_HIGH,
            **more,
        }
    )


async def test_a_payment_is_assessed_as_risky_and_a_menu_as_safe(stack: Stack) -> None:
    worker = await stack.stub()
    with acting_for("default"):
        payment = await worker.AssessRisk(assess_request(stack.approval.has("default", PAYMENT)))
        menu = await worker.AssessRisk(assess_request(stack.approval.has("default", MENU)))
    assert payment.assessment.result == event_pb2.AI_RESULT_DECIDED
    assert payment.assessment.risk > 0.6
    assert menu.assessment.risk < 0.3
    assert (menu.assessment.found.form, payment.assessment.found.form) == ("menu", "")
    assert [str(one.value) for one in payment.assessment.found.amounts] == ["48000"]
    assert payment.assessment.provenance.parts == ["reader/1", "rules/1", "floor/1"]
    assert payment.assessment.mode == event_pb2.SCREEN_MODE_QUICK
    assert not payment.deep_available
    assert {feature.name for feature in payment.assessment.features} >= {"payment_instruction", "amount"}
    assert payment.assessment.provenance.provider == "embedded"
    assert len(payment.assessment.provenance.prompt_digest) == 32
    assert len(payment.assessment.provenance.input_digest) == 32


async def test_a_decision_carries_verdict_confidence_and_reasoning(stack: Stack) -> None:
    worker = await stack.stub()
    with acting_for("default"):
        rejected = await worker.Decide(decide_request(stack.approval.has("default", PAYMENT)))
        approved = await worker.Decide(decide_request(stack.approval.has("default", MENU)))
        abstained = await worker.Decide(decide_request(stack.approval.has("default", b"Figures attached.")))
    assert rejected.decision.verdict == event_pb2.VERDICT_REJECT
    assert approved.decision.verdict == event_pb2.VERDICT_APPROVE
    assert 0 < approved.decision.confidence < 1
    assert abstained.decision.result == event_pb2.AI_RESULT_ABSTAINED
    assert abstained.decision.verdict == event_pb2.VERDICT_UNSPECIFIED
    assert all(answer.decision.reasoning for answer in (rejected, approved, abstained))


async def test_the_provider_has_content_pre_screen_priority_and_circumstances_in_hand(stack: Stack) -> None:
    worker = await stack.stub()
    seen = event_pb2.PreScreened(
        result=event_pb2.AI_RESULT_DECIDED,
        mode=event_pb2.SCREEN_MODE_DEEP,
        risk=0.4,
        threshold=0.3,
        confidence=0.6,
        model="model-1",
        reasoning=event_pb2.Erasable(value="repeats the content"),
    )
    request = decide_request(
        stack.approval.has("default", MENU), pre_screen=seen, circumstances="Neither a nor b responded"
    )
    with acting_for("default"):
        await worker.Decide(request)
    case = stack.provider.cases[0]
    assert case.document.text == MENU.decode()
    assert case.document.title == "Menu"
    assert (case.priority, case.circumstances) == ("high", "Neither a nor b responded")
    assert case.pre_screen is not None
    assert (case.pre_screen.risk, case.pre_screen.confidence) == (0.4, 0.6)
    assert "repeats the content" not in str(case)


async def test_a_pre_screen_that_said_nothing_is_none(stack: Stack) -> None:
    worker = await stack.stub()
    nothing = event_pb2.PreScreened(result=event_pb2.AI_RESULT_ABSTAINED)
    with acting_for("default"):
        await worker.Decide(decide_request(stack.approval.has("default", MENU), pre_screen=nothing))
    assert stack.provider.cases[0].pre_screen is None


async def test_text_is_judged_by_the_bytes_that_the_digest_covers(stack: Stack) -> None:
    worker = await stack.stub()
    text = stack.approval.has("default", PAYMENT, "text/markdown", text="Lunch menu: soup")
    pdf = stack.approval.has("default", b"%PDF-1.7 \xff", "application/pdf", text="Pay invoice 4711")
    with acting_for("default"):
        await worker.AssessRisk(assess_request(text))
        await worker.AssessRisk(assess_request(pdf))
    assert [case.document.text for case in stack.provider.cases] == [PAYMENT.decode(), "Pay invoice 4711"]


@pytest.mark.parametrize("mode", [event_pb2.SCREEN_MODE_QUICK, event_pb2.SCREEN_MODE_DEEP])
async def test_the_same_call_again_gives_the_first_answer(
    stack: Stack, mode: event_pb2.ScreenMode.ValueType
) -> None:
    worker = await stack.stub()
    digest = stack.approval.has("default", PAYMENT)
    assess, decide = assess_request(digest, mode=mode), decide_request(digest)
    with acting_for("default"):
        first_risk, first_decision = await worker.AssessRisk(assess), await worker.Decide(decide)
        # The first answers stand although the content can no longer be had.
        stack.approval.failure = Unavailable("down")
        assert await worker.AssessRisk(assess) == first_risk
        assert await worker.Decide(decide) == first_decision
    assert len(stack.provider.cases) == 2


async def test_concurrent_calls_with_one_key_ask_the_model_once(stack: Stack) -> None:
    worker = await stack.stub()
    request = assess_request(stack.approval.has("default", PAYMENT))
    with acting_for("default"):
        answers = await asyncio.gather(*(worker.AssessRisk(request) for _ in range(20)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(stack.provider.cases) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mode": event_pb2.SCREEN_MODE_QUICK},
        {"priority": event_pb2.PRIORITY_LOW},
        {"content_digest": hashlib.sha256(MENU).digest()},
        {"approval_id": "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a002"},
    ],
    ids=str,
)
async def test_the_same_key_with_another_payload_is_refused(stack: Stack, change: dict[str, Any]) -> None:
    worker = await stack.stub()
    stack.approval.has("default", MENU)
    digest = stack.approval.has("default", PAYMENT)
    with acting_for("default"):
        await worker.AssessRisk(assess_request(digest, "key"))
        with pytest.raises(AlreadyExists) as raised:
            await worker.AssessRisk(assess_request(digest, "key", **change))
        assert (raised.value.reason, raised.value.domain) == ("ID_REUSED", "decision.placet")


async def test_a_key_belongs_to_one_rpc(stack: Stack) -> None:
    worker = await stack.stub()
    digest = stack.approval.has("default", PAYMENT)
    with acting_for("default"):
        await worker.AssessRisk(assess_request(digest, "key"))
        with pytest.raises(AlreadyExists):
            await worker.Decide(decide_request(digest, "key"))


async def test_tenants_share_neither_keys_nor_contents(stack: Stack) -> None:
    worker = await stack.stub()
    payment, typo = stack.approval.has("tenant-a", PAYMENT), stack.approval.has("tenant-b", MENU)
    with acting_for("tenant-a"):
        of_a = await worker.AssessRisk(assess_request(payment, "key"))
    with acting_for("tenant-b"):
        of_b = await worker.AssessRisk(assess_request(typo, "key"))
        with pytest.raises(NotFound) as raised:
            await worker.AssessRisk(assess_request(payment, "key-2"))
    assert of_a.assessment.risk > of_b.assessment.risk
    assert raised.value.reason == "UNKNOWN_CONTENT"
    assert [asked.tenant for asked in stack.approval.asked] == ["tenant-a", "tenant-b", "tenant-b"]
    assert {asked.subject for asked in stack.approval.asked} == {"decision"}


async def test_other_content_than_the_digest_names_is_never_judged(stack: Stack) -> None:
    worker = await stack.stub()
    digest = stack.approval.has("default", MENU)
    stack.approval.contents["default", digest].content.body = PAYMENT
    with acting_for("default"), pytest.raises(DataLoss) as raised:
        await worker.AssessRisk(assess_request(digest))
    assert raised.value.reason == "CONTENT_MISMATCH"
    assert raised.value.metadata == {"approval_id": ID}
    assert stack.provider.cases == []


async def test_content_that_cannot_be_had_is_unavailable_until_it_can(stack: Stack) -> None:
    worker = await stack.stub()
    request = assess_request(stack.approval.has("default", MENU))
    stack.approval.failure = Unavailable("its database is away")
    with acting_for("default"):
        with pytest.raises(Unavailable) as raised:
            await worker.AssessRisk(request)
        assert (raised.value.reason, raised.value.domain) == ("CONTENT_UNAVAILABLE", "decision.placet")
        stack.approval.failure = None
        assert (await worker.AssessRisk(request)).assessment.risk < 0.3


async def test_approval_service_that_is_down_is_unavailable(stack: Stack) -> None:
    worker = await stack.stub()
    await stack.behind.stop(0)
    with acting_for("default"), pytest.raises(Unavailable) as raised:
        await worker.AssessRisk(assess_request(hashlib.sha256(MENU).digest()))
    assert raised.value.reason == "CONTENT_UNAVAILABLE"


async def test_a_model_that_is_unavailable_is_asked_again_by_the_next_call(stack: Stack) -> None:
    worker = await stack.stub()
    request = decide_request(stack.approval.has("default", PAYMENT))
    stack.provider.failure = Unavailable(
        "the model cannot be reached", reason="MODEL_UNAVAILABLE", metadata={"provider": "openai"}
    )
    with acting_for("default"):
        with pytest.raises(Unavailable) as raised:
            await worker.Decide(request)
        assert (raised.value.reason, raised.value.domain) == ("MODEL_UNAVAILABLE", "decision.placet")
        stack.provider.failure = None
        assert (await worker.Decide(request)).decision.verdict == event_pb2.VERDICT_REJECT


async def test_the_provider_gets_what_the_callers_deadline_leaves(stack: Stack) -> None:
    worker = await stack.stub()
    with acting_for("default"):
        await worker.Decide(decide_request(stack.approval.has("default", MENU)), timeout=7)
    assert 0 < stack.provider.budgets[0] < 6.8


async def test_a_caller_that_gives_up_frees_the_key(stack: Stack) -> None:
    worker = await stack.stub()
    request = decide_request(stack.approval.has("default", PAYMENT))
    stack.provider.hold = asyncio.Event()
    with acting_for("default"):
        with pytest.raises(DeadlineExceeded):
            await worker.Decide(request, timeout=0.5)
        stack.provider.hold.set()
        assert (await worker.Decide(request)).decision.verdict == event_pb2.VERDICT_REJECT


@pytest.mark.parametrize(
    "caller",
    [
        *(("mallory@example.com", role) for role in ("requester", "approver", "auditor", "operator")),
        *((program,) for program in ("approval", "decision", "notification", "witness", "worker-ml")),
    ],
    ids="-".join,
)
async def test_only_the_workers_whose_job_it_is_may_ask(stack: Stack, caller: tuple[str, ...]) -> None:
    other = await stack.stub(*caller)
    digest = stack.approval.has("default", MENU)
    with acting_for("default"):
        with pytest.raises(PermissionDenied):
            await other.AssessRisk(assess_request(digest))
        with pytest.raises(PermissionDenied):
            await other.Decide(decide_request(digest))
    assert stack.provider.cases == []


async def test_no_program_takes_a_key_before_the_one_that_it_was_minted_for(stack: Stack) -> None:
    thief, worker = await stack.stub("worker-default"), await stack.stub("worker-openai")
    digest, key = stack.approval.has("default", PAYMENT), f"{ID}/fallback"
    with acting_for("default"):
        await thief.AssessRisk(assess_request(digest, key))
        first = await worker.Decide(decide_request(digest, key))
        assert await worker.Decide(decide_request(digest, key)) == first
        with pytest.raises(PermissionDenied):
            await thief.Decide(decide_request(digest, key))


async def test_a_refusal_of_authority_is_audited_and_bounded(stack: Stack) -> None:
    other = await stack.stub("mallory@example.com", "approver", tenant="tenant-b")
    for _ in range(3):
        with pytest.raises(PermissionDenied):
            await other.Decide(decide_request(hashlib.sha256(MENU).digest()))
    async with asyncio.timeout(10):
        tenant, event = await stack.audit.appended.get()
    assert tenant == "tenant-b"
    assert event.actor.name.value == "mallory@example.com"
    assert event.access_refused.method.endswith("/Decide")
    assert event.cause_id.startswith("decision/")
    # One in a minute was allowed; the others are in the service's own log.
    await stack.decision.stop(0)
    assert stack.audit.appended.empty()


@pytest.mark.parametrize(
    "change",
    [
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 101},
        {"approval_id": "no-uuid"},
        {"content_digest": b"short"},
        {"mode": 0},
        {"mode": 99},
        {"priority": 99},
    ],
    ids=str,
)
async def test_malformed_requests_are_refused_by_field(stack: Stack, change: dict[str, Any]) -> None:
    worker = await stack.stub()
    request = assess_request(hashlib.sha256(MENU).digest())
    for name, value in change.items():
        setattr(request, name, value)
    with acting_for("default"), pytest.raises(InvalidArgument) as raised:
        await worker.AssessRisk(request)
    assert [violation.field for violation in raised.value.violations] == list(change)
