"""gRPC servicer of ApprovalService: converts messages, and delegates to intake, commands and queries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

import grpc.aio

from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_approval.commands.handler import CommandHandler
from placet_approval.consumer_queries import ConsumerQueries
from placet_approval.content.warnings import RENDERING, TextWarning, warnings_of
from placet_approval.erasure import Eraser
from placet_approval.intake.service import Intake, check_served, checked_time
from placet_approval.policy_queries import PolicyQueries
from placet_approval.projection.present import present_facts, present_result, present_warning
from placet_approval.queries import Queries
from placet_approval.stats_queries import StatsQueries
from placet_approval.store.filters import Filter
from placet_approval.visibility import visibility_of
from placet_domain.commands import BaseCommand, CancelCommand, CommentCommand, DecisionCommand
from placet_domain.events import Actor, Processed, Verdict
from placet_jobs import JobRunner
from placet_mapping import from_proto, to_proto
from placet_rpc import deadlines
from placet_rpc.identity import Principal, actor_of, current, normalize_address
from placet_rpc.paging import capped
from placet_telemetry import current_traceparent

# Sizes of a page, by default and at most.
DEFAULT_PAGE, MOST_PAGE = 50, 500
# Longest text that is checked on the event loop, in milliseconds; longer ones are checked in a child.
INLINE_CHARACTERS = 16_000

# gRPC types a context by its messages, which differ from RPC to RPC.
_Context = grpc.aio.ServicerContext[Any, Any]


class ApprovalServicer(approval_service_pb2_grpc.ApprovalServiceServicer):
    """See the contract, protos/placet/approval/v1/approval_service.proto."""

    def __init__(
        self,
        intake: Intake,
        commands: CommandHandler,
        queries: Queries,
        policies: PolicyQueries,
        stats: StatsQueries,
        consumers: ConsumerQueries,
        eraser: Eraser,
        *,
        await_limit: float,
        command_budget: float,
    ) -> None:
        """`await_limit`, `command_budget`: most seconds that AwaitOutcome and a command wait."""
        self._intake = intake
        self._commands = commands
        self._queries = queries
        self._policies = policies
        self._stats = stats
        self._consumers = consumers
        self._eraser = eraser
        self._await_limit = await_limit
        self._command_budget = command_budget
        # Apart from the reading of new contents, which must not keep people from those that are there.
        self._jobs = JobRunner([warnings_of.__module__])

    async def RequestApproval(
        self, request: approval_service_pb2.RequestApprovalRequest, context: _Context
    ) -> approval_service_pb2.RequestApprovalResponse:
        for assignment in request.assignments:
            assignment.people[:] = dict.fromkeys(normalize_address(person) for person in assignment.people)
        return await self._intake.accept(request, current())

    async def GetApproval(
        self, request: approval_service_pb2.GetApprovalRequest, context: _Context
    ) -> approval_service_pb2.GetApprovalResponse:
        visible = visibility_of(current())
        await self._queries.up_to(visible.tenant, request.min_log_index)
        approval = await self._queries.get(visible, request.approval_id)
        if request.view != approval_pb2.APPROVAL_VIEW_BASIC:
            await self._queries.fill(visible.tenant, [approval])
        return approval_service_pb2.GetApprovalResponse(approval=approval)

    async def ListApprovals(
        self, request: approval_service_pb2.ListApprovalsRequest, context: _Context
    ) -> approval_service_pb2.ListApprovalsResponse:
        caller = current()
        visible = visibility_of(caller)
        await self._queries.up_to(visible.tenant, request.min_log_index)
        approvals, following = await self._queries.page(
            visible,
            filter_of(request.filter, caller),
            capped(request.page_size, DEFAULT_PAGE, MOST_PAGE),
            request.page_token,
        )
        if request.view == approval_pb2.APPROVAL_VIEW_FULL:
            await self._queries.fill(visible.tenant, approvals)
        return approval_service_pb2.ListApprovalsResponse(approvals=approvals, next_page_token=following)

    async def WatchApprovals(
        self, request: approval_service_pb2.WatchApprovalsRequest, context: _Context
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        caller = current()
        from_index = request.from_log_index if request.HasField("from_log_index") else None
        async for response in self._queries.watch(
            visibility_of(caller), filter_of(request.filter, caller), from_index
        ):
            yield response

    async def AwaitOutcome(
        self, request: approval_service_pb2.AwaitOutcomeRequest, context: _Context
    ) -> approval_service_pb2.AwaitOutcomeResponse:
        timeout = deadlines.waiting_time(self._await_limit)
        visible = visibility_of(current())
        approval = await self._queries.outcome(visible, request.approval_id, timeout)
        if request.view == approval_pb2.APPROVAL_VIEW_FULL:
            await self._queries.fill(visible.tenant, [approval])
        return approval_service_pb2.AwaitOutcomeResponse(approval=approval)

    async def SubmitDecision(
        self, request: approval_service_pb2.SubmitDecisionRequest, context: _Context
    ) -> approval_service_pb2.SubmitDecisionResponse:
        check_served(request.WhichOneof("answer"))
        caller = current()
        command = DecisionCommand(
            **_command_fields(request.command_id, caller),
            verdict=Verdict(event_pb2.Verdict.Name(request.approval.verdict).removeprefix("VERDICT_")),
            content_digest=request.content_digest.hex(),
            policy_digest=request.policy_digest.hex(),
            rendering=request.rendering,
            rendering_in_force=RENDERING,
            reason=request.reason,
        )
        result = await self._submit(caller, request.approval_id, command)
        return approval_service_pb2.SubmitDecisionResponse(result=result)

    async def CancelApproval(
        self, request: approval_service_pb2.CancelApprovalRequest, context: _Context
    ) -> approval_service_pb2.CancelApprovalResponse:
        caller = current()
        command = CancelCommand(**_command_fields(request.command_id, caller), reason=request.reason)
        result = await self._submit(caller, request.approval_id, command)
        return approval_service_pb2.CancelApprovalResponse(result=result)

    async def AddComment(
        self, request: approval_service_pb2.AddCommentRequest, context: _Context
    ) -> approval_service_pb2.AddCommentResponse:
        caller = current()
        command = CommentCommand(**_command_fields(request.command_id, caller), text=request.text)
        result = await self._submit(caller, request.approval_id, command)
        return approval_service_pb2.AddCommentResponse(result=result)

    async def GetCommand(
        self, request: approval_service_pb2.GetCommandRequest, context: _Context
    ) -> approval_service_pb2.GetCommandResponse:
        result = await self._queries.command(
            visibility_of(current()), request.approval_id, request.command_id
        )
        return approval_service_pb2.GetCommandResponse(result=result)

    async def ListPolicies(
        self, request: approval_service_pb2.ListPoliciesRequest, context: _Context
    ) -> approval_service_pb2.ListPoliciesResponse:
        size = capped(request.page_size, DEFAULT_PAGE, MOST_PAGE)
        policies, following = await self._policies.page(request.all_versions, size, request.page_token)
        return approval_service_pb2.ListPoliciesResponse(policies=policies, next_page_token=following)

    async def GetDecisionStats(
        self, request: approval_service_pb2.GetDecisionStatsRequest, context: _Context
    ) -> approval_service_pb2.GetDecisionStatsResponse:
        tenant = current().tenant
        await self._queries.up_to(tenant, request.min_log_index)
        window = request.window.ToTimedelta() if request.HasField("window") else None
        return await self._stats.stats(tenant, window, request.policy, request.parts)

    async def GetLogConsumers(
        self, request: approval_service_pb2.GetLogConsumersRequest, context: _Context
    ) -> approval_service_pb2.GetLogConsumersResponse:
        return await self._consumers.of(current().tenant)

    async def GetPolicy(
        self, request: approval_service_pb2.GetPolicyRequest, context: _Context
    ) -> approval_service_pb2.GetPolicyResponse:
        policy = await self._policies.get(request.name, request.version, request.policy_digest)
        return approval_service_pb2.GetPolicyResponse(policy=policy)

    async def EraseApproval(
        self, request: approval_service_pb2.EraseApprovalRequest, context: _Context
    ) -> approval_service_pb2.EraseApprovalResponse:
        entry = await self._eraser.erase(
            current().tenant, request.approval_id, request.reason, before_retention=request.before_retention
        )
        return approval_service_pb2.EraseApprovalResponse(
            log_index=entry.index, values=entry.entry.event.erased.values
        )

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: _Context
    ) -> approval_service_pb2.GetContentResponse:
        visible = visibility_of(current())
        content, its_request = await self._queries.content(
            visible, request.approval_id, request.content_digest
        )
        event = event_pb2.Event.FromString(its_request.received)
        shown = {
            "title": event.received.title.value,
            "subject_id": event.received.subject_id,
            "text": content.text,
        }
        facts = event.received.facts
        return approval_service_pb2.GetContentResponse(
            facts=present_facts(facts) if facts.kind else None,
            content=approval_pb2.Content(body=content.body, media_type=content.media_type),
            **shown,
            requester=event.actor.name.value,
            rendering=RENDERING,
            warnings=[present_warning(warning) for warning in await self._warnings(shown)],
            coverage=to_proto(
                Processed.model_validate_json(its_request.processed).coverage, event_pb2.ContentCoverage
            ),
        )

    async def _warnings(self, shown: Mapping[str, str]) -> list[TextWarning]:
        if sum(map(len, shown.values())) < INLINE_CHARACTERS:
            return warnings_of(shown)
        return await self._jobs.run(current().tenant, warnings_of, shown)

    async def _submit(
        self, caller: Principal, approval_id: str, command: BaseCommand
    ) -> approval_pb2.CommandResult:
        budget = deadlines.waiting_time(self._command_budget)
        state = await self._commands.submit(caller.tenant, approval_id, command, budget)
        return present_result(state, command.id)


class _CommandFields(TypedDict):
    id: str
    actor: Actor
    traceparent: str
    operator: bool


def _command_fields(command_id: str, caller: Principal) -> _CommandFields:
    """Fields common to all commands."""
    return {
        "id": command_id,
        "actor": from_proto(actor_of(caller), Actor),
        "traceparent": current_traceparent(),
        "operator": "operator" in caller.roles,
    }


def filter_of(wanted: approval_service_pb2.ApprovalFilter, caller: Principal) -> Filter:
    """Converts the filter of a call."""
    return Filter(
        states=tuple(event_pb2.State.Name(state) for state in wanted.states),
        policy=wanted.policy,
        subject_id=wanted.subject_id,
        waiting_for=caller.subject if wanted.waiting_for_me else "",
        requester=normalize_address(wanted.requester),
        approver=normalize_address(wanted.approver),
        labels=tuple(sorted(wanted.labels.items())),
        from_create_time=_time(wanted, "from_create_time"),
        until_create_time=_time(wanted, "until_create_time"),
    )


def _time(
    wanted: approval_service_pb2.ApprovalFilter, name: Literal["from_create_time", "until_create_time"]
) -> datetime | None:
    return checked_time(f"filter.{name}", getattr(wanted, name)) if wanted.HasField(name) else None
