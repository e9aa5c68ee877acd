"""ApprovalService: messages in, messages out; the work is done by intake, door and reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio

from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_approval.commands.handler import Door, Effect
from placet_approval.content.rendering import RENDERING
from placet_approval.content.warnings import TextWarning, warnings_of
from placet_approval.erasure import Eraser
from placet_approval.intake.service import Intake
from placet_approval.projection.present import present_warning
from placet_approval.queries import Reader
from placet_approval.store.view import Filter
from placet_approval.visibility import sight_of
from placet_domain.commands import Command
from placet_domain.events import Actor, ActorKind, Verdict
from placet_rpc.identity import Principal, current, normalize_address
from placet_rpc.paging import capped
from placet_telemetry import current_traceparent

DEFAULT_PAGE = 50
MOST_ON_A_PAGE = 500
# Of the caller's time, kept so that an answer can still be given.
MARGIN = 0.3
# How long a call without a deadline may wait for the view.
VIEW_WAIT = 5.0
# Characters of text that are looked through in some milliseconds; more, and others need the loop meanwhile.
AT_ONCE = 50_000

# gRPC types a context by its messages, which differ from RPC to RPC; only the time left is read here.
_Context = grpc.aio.ServicerContext[Any, Any]


class ApprovalServicer(approval_service_pb2_grpc.ApprovalServiceServicer):
    """See the contract, protos/placet/approval/v1/approval_service.proto."""

    def __init__(
        self,
        intake: Intake,
        door: Door,
        reader: Reader,
        eraser: Eraser,
        *,
        await_limit: float,
        judge_budget: float,
    ) -> None:
        """`await_limit`: seconds that AwaitOutcome waits at most; `judge_budget`: that a command does."""
        self._intake = intake
        self._door = door
        self._reader = reader
        self._eraser = eraser
        self._await_limit = await_limit
        self._judge_budget = judge_budget

    async def RequestApproval(
        self, request: approval_service_pb2.RequestApprovalRequest, context: _Context
    ) -> approval_service_pb2.RequestApprovalResponse:
        request.required_approver = normalize_address(request.required_approver)
        request.manager_approver = normalize_address(request.manager_approver)
        accepted = await self._intake.accept(request, current())
        return approval_service_pb2.RequestApprovalResponse(
            id=accepted.id, content_digest=accepted.content_digest, log_index=accepted.log_index
        )

    async def GetApproval(
        self, request: approval_service_pb2.GetApprovalRequest, context: _Context
    ) -> approval_service_pb2.GetApprovalResponse:
        sight = sight_of(current())
        await self._reader.up_to(sight.tenant, request.min_log_index, _time_left(context, VIEW_WAIT))
        approval = await self._reader.get(sight, request.id.lower())
        return approval_service_pb2.GetApprovalResponse(approval=approval)

    async def ListApprovals(
        self, request: approval_service_pb2.ListApprovalsRequest, context: _Context
    ) -> approval_service_pb2.ListApprovalsResponse:
        caller = current()
        sight = sight_of(caller)
        await self._reader.up_to(sight.tenant, request.min_log_index, _time_left(context, VIEW_WAIT))
        approvals, following = await self._reader.page(
            sight,
            _filter(request.filter, caller),
            capped(request.page_size, DEFAULT_PAGE, MOST_ON_A_PAGE),
            request.page_token,
        )
        return approval_service_pb2.ListApprovalsResponse(approvals=approvals, next_page_token=following)

    async def WatchApprovals(
        self, request: approval_service_pb2.WatchApprovalsRequest, context: _Context
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        caller = current()
        from_index = request.from_log_index if request.HasField("from_log_index") else None
        async for response in self._reader.watch(
            sight_of(caller), _filter(request.filter, caller), from_index
        ):
            yield response

    async def AwaitOutcome(
        self, request: approval_service_pb2.AwaitOutcomeRequest, context: _Context
    ) -> approval_service_pb2.AwaitOutcomeResponse:
        timeout = _time_left(context, self._await_limit)
        approval = await self._reader.outcome(sight_of(current()), request.id.lower(), timeout)
        return approval_service_pb2.AwaitOutcomeResponse(approval=approval)

    async def SubmitDecision(
        self, request: approval_service_pb2.SubmitDecisionRequest, context: _Context
    ) -> approval_service_pb2.SubmitDecisionResponse:
        caller = current()
        command = Command(
            type="decision",
            id=request.decision_id.lower(),
            actor=_actor(caller),
            traceparent=current_traceparent(),
            verdict=Verdict(event_pb2.Verdict.Name(request.verdict).removeprefix("VERDICT_")),
            content_digest=request.content_digest.hex(),
            policy_digest=request.policy_digest.hex(),
            rendering=request.rendering,
            rendering_in_force=RENDERING,
            reason=request.reason,
        )
        effect = await self._submit(caller, request.approval_id, command, context)
        status, log_index, state = _answer(effect)
        return approval_service_pb2.SubmitDecisionResponse(status=status, log_index=log_index, state=state)

    async def CancelApproval(
        self, request: approval_service_pb2.CancelApprovalRequest, context: _Context
    ) -> approval_service_pb2.CancelApprovalResponse:
        caller = current()
        command = Command(
            type="cancel",
            id=request.command_id.lower(),
            actor=_actor(caller),
            traceparent=current_traceparent(),
            reason=request.reason,
            operator="operator" in caller.roles,
        )
        effect = await self._submit(caller, request.approval_id, command, context)
        status, log_index, state = _answer(effect)
        return approval_service_pb2.CancelApprovalResponse(status=status, log_index=log_index, state=state)

    async def GetCommand(
        self, request: approval_service_pb2.GetCommandRequest, context: _Context
    ) -> approval_service_pb2.GetCommandResponse:
        return await self._reader.command(
            sight_of(current()), request.approval_id.lower(), request.command_id.lower()
        )

    async def EraseApproval(
        self, request: approval_service_pb2.EraseApprovalRequest, context: _Context
    ) -> approval_service_pb2.EraseApprovalResponse:
        entry = await self._eraser.erase(
            current(), request.approval_id.lower(), request.reason, before_retention=request.before_retention
        )
        return approval_service_pb2.EraseApprovalResponse(
            log_index=entry.index, values=entry.entry.event.erased.values
        )

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: _Context
    ) -> approval_service_pb2.GetContentResponse:
        sight = sight_of(current())
        content, its_request = await self._reader.content(
            sight, request.approval_id.lower(), request.content_digest
        )
        event = event_pb2.Event.FromString(its_request.received)
        shown = {
            "title": event.received.title.value,
            "subject_id": event.received.subject_id,
            "text": content.text,
        }
        return approval_service_pb2.GetContentResponse(
            content=approval_pb2.Content(body=content.body, media_type=content.media_type),
            **shown,
            requester=event.actor.name.value,
            rendering=RENDERING,
            warnings=[present_warning(warning) for warning in await _warnings(shown)],
        )

    async def _submit(
        self, caller: Principal, approval_id: str, command: Command, context: _Context
    ) -> Effect | None:
        budget = _time_left(context, self._judge_budget)
        return await self._door.submit(caller.tenant, approval_id.lower(), command, budget)


async def _warnings(shown: Mapping[str, str]) -> list[TextWarning]:
    if sum(map(len, shown.values())) < AT_ONCE:
        return warnings_of(shown)
    return await asyncio.to_thread(warnings_of, shown)


def _answer(
    effect: Effect | None,
) -> tuple[approval_pb2.CommandStatus.ValueType, int, event_pb2.State.ValueType]:
    if effect is None:
        return approval_pb2.COMMAND_STATUS_ACCEPTED, 0, event_pb2.STATE_UNSPECIFIED
    state = event_pb2.State.Value(f"STATE_{effect.state}")
    return approval_pb2.COMMAND_STATUS_EFFECTIVE, effect.log_index, state


def _actor(caller: Principal) -> Actor:
    kind = ActorKind.PERSON if caller.is_person else ActorKind.SERVICE
    return Actor(kind=kind, name=caller.subject, authenticated_by=caller.authenticated_by)


def _filter(wanted: approval_service_pb2.ApprovalFilter, caller: Principal) -> Filter:
    return Filter(
        states=tuple(event_pb2.State.Name(state) for state in wanted.states),
        policy=wanted.policy,
        subject_id=wanted.subject_id,
        waiting_for=caller.subject if wanted.waiting_for_me else "",
    )


def _time_left(context: _Context, limit: float) -> float:
    """Seconds that this call may wait: what its caller still waits, less a margin, and at most `limit`."""
    remaining = context.time_remaining()
    return limit if remaining is None else max(min(limit, remaining - MARGIN), 0)
