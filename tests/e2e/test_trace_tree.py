"""One trace goes from the caller through every hop, and can be seen while the request still waits."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_trace_id, get_tracer

from placet_devstack.spans import load_trace
from placet_devstack.spans.model import Span
from placet_testing.conditions import until
from placet_testing.stack import ALICE, Stack

pytestmark = pytest.mark.integration

# Each expected span as (service, name) with the chain of its ancestors, from the caller's own on.
REQUEST = ("approval", "placet.approval.v1.ApprovalService/RequestApproval")
START = ("approval", "StartWorkflow:ApprovalWorkflow")
PENDING = [
    (REQUEST, ("approval", "insert request approval")),
    (REQUEST, ("approval", "placet.audit.v1.AuditService/AppendEvents")),
    (
        ("approval", "placet.audit.v1.AuditService/AppendEvents"),
        ("audit", "placet.audit.v1.AuditService/AppendEvents"),
    ),
    (("audit", "placet.audit.v1.AuditService/AppendEvents"), ("audit", "audit.commit")),
    (REQUEST, START),
    (START, ("worker-default", "RunWorkflow:ApprovalWorkflow")),
    (
        ("worker-default", "StartActivity:append_events"),
        ("worker-default", "RunActivity:append_events"),
    ),
    (
        ("worker-default", "RunActivity:append_events"),
        ("worker-default", "placet.audit.v1.AuditService/AppendEvents"),
    ),
    (
        ("worker-default", "RunActivity:assess_risk"),
        ("worker-default", "placet.decision.v1.DecisionService/AssessRisk"),
    ),
    (
        ("worker-default", "placet.decision.v1.DecisionService/AssessRisk"),
        ("decision", "placet.decision.v1.DecisionService/AssessRisk"),
    ),
    (
        ("decision", "placet.approval.v1.ApprovalService/GetContent"),
        ("approval", "placet.approval.v1.ApprovalService/GetContent"),
    ),
    (
        ("worker-default", "placet.notification.v1.NotificationService/SendNotification"),
        ("notification", "placet.notification.v1.NotificationService/SendNotification"),
    ),
    (
        ("notification", "placet.notification.v1.NotificationService/SendNotification"),
        ("notification", "smtp send"),
    ),
]


def edges(spans: list[Span]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """Children of each span, by service and name."""
    by_id = {span.span_id: span for span in spans}
    return {
        ((by_id[span.parent_id].service, by_id[span.parent_id].name), (span.service, span.name))
        for span in spans
        if span.parent_id in by_id
    }


async def test_a_pending_request_shows_its_whole_tree_across_the_services(stack: Stack) -> None:
    approval_id = await stack.request("document")
    approval = await stack.waiting(approval_id)
    store = stack.home.database("spans")

    async def complete() -> bool:
        return set(PENDING) <= edges(load_trace(store, approval.trace_id))

    try:
        await until(complete, "all spans of a pending request are there")
    finally:
        missing = set(PENDING) - edges(load_trace(store, approval.trace_id))
        assert not missing
    spans = load_trace(store, approval.trace_id)
    assert (await stack.get(approval_id)).waiting_for_approval
    assert not [span.name for span in spans if span.name.startswith("wait for")]
    assert not [span.name for span in spans if span.failed]


async def test_a_wait_is_one_span_of_its_true_length_linked_to_the_decision(stack: Stack) -> None:
    approval_id = await stack.request("simple")
    approval = await stack.waiting(approval_id)
    await stack.decide(approval_id, ALICE)
    store = stack.home.database("spans")

    async def waits() -> list[Span] | None:
        spans = load_trace(store, approval.trace_id)
        # The worker and the service send their spans each in its own time.
        signalled = any(one.name == "HandleSignal:command" for one in spans)
        found = [one for one in spans if one.name.startswith("wait for")]
        return found if signalled and found else None

    (wait,) = await until(waits, "the wait is a span")
    path = await stack.path(approval_id)
    (opened,) = [event.time for event in path if event.WhichOneof("body") == "tier_opened"]
    (voted,) = [event for event in path if event.WhichOneof("body") == "voted"]
    assert (wait.start, wait.end) == (opened.ToNanoseconds(), voted.time.ToNanoseconds())
    # The decision was made in a trace of its own, which the wait links to.
    assert [trace_id for trace_id, _span_id in wait.links] == [voted.traceparent.split("-")[1]]
    assert voted.traceparent.split("-")[1] != approval.trace_id


async def test_the_callers_own_trace_goes_on_in_placet(stack: Stack) -> None:
    tracer = get_tracer("caller", tracer_provider=TracerProvider())
    with tracer.start_as_current_span("the caller's work") as span:
        approval_id = await stack.request("simple")
    assert (await stack.get(approval_id)).trace_id == format_trace_id(span.get_span_context().trace_id)


async def test_each_silence_is_a_span_that_ended_by_timeout(stack: Stack) -> None:
    approval_id = await stack.request("escalating")
    await stack.outcome(approval_id)
    approval = await stack.get(approval_id)

    async def waits() -> list[Span] | None:
        found = [
            one
            for one in load_trace(stack.home.database("spans"), approval.trace_id)
            if one.name.startswith("wait for")
        ]
        return found if len(found) == 2 else None

    first, second = sorted(await until(waits, "both waits are spans"), key=lambda one: one.start)
    assert [first.name, second.name] == ["wait for team member", "wait for manager"]
    assert {first.attributes["placet.ended_by"], second.attributes["placet.ended_by"]} == {"timeout"}
