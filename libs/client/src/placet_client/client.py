"""The client of ApprovalService."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.event.v1 import event_pb2
from placet_client.approvals import PendingApproval, await_outcome, content_of
from placet_client.converging import converge, pauses
from placet_client.outcome import Outcome
from placet_rpc.client import channel
from placet_rpc.errors import FieldViolation, InvalidArgument, PlacetError, ends_stream_only
from placet_rpc.tls import ClientTls, tls_from_environment
from placet_rpc.tokens.sources import FileTokenSource, TokenSource

_Number = TypeVar("_Number", bound=int)

# Seconds after which a call that keeps failing in passing ways is given up.
PATIENCE = 30.0
_PAGE = 500


class PlacetClient:
    """Asks for decisions, decides, and tells what became of requests. Made by `connect`, for `async with`.

    Every call that may be sent twice is: with the same id while the service cannot be reached, for `patience`
    seconds in all. Errors are those of `placet_rpc.errors`.
    """

    def __init__(
        self, address: str, tokens: TokenSource, *, patience: float = PATIENCE, tls: ClientTls | None = None
    ) -> None:
        """See `connect`."""
        self._address = address
        self._tokens = tokens
        self._patience = patience
        self._tls = tls
        self._channel: grpc.aio.Channel | None = None

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        tokens: TokenSource | Path | str | None = None,
        *,
        patience: float = PATIENCE,
        tls: ClientTls | None = None,
    ) -> Self:
        """A client of the service at `address` (host:port; default PLACET_APPROVAL_ADDRESS).

        `tokens` says who calls: a token source, or the path of the file that holds the token (default
        PLACET_TOKEN_FILE), which is read again when it is replaced. `tls` names PEM files (default
        PLACET_TLS_CA_FILE and the other variables of callers); without any the connection is plain. Connects
        with the first call. Raises ValueError if neither argument nor variable says where or who, or the
        variables say half of how to speak TLS.
        """
        address = address or os.environ.get("PLACET_APPROVAL_ADDRESS")
        tokens = tokens or _path_from_environment("PLACET_TOKEN_FILE")
        if not address or tokens is None:
            raise ValueError("say address and tokens, or set PLACET_APPROVAL_ADDRESS and PLACET_TOKEN_FILE")
        source = FileTokenSource(Path(tokens)) if isinstance(tokens, Path | str) else tokens
        return cls(address, source, patience=patience, tls=tls or tls_from_environment())

    async def __aenter__(self) -> Self:
        """Opens the connection."""
        self._channel = channel(self._address, self._tokens, tls=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    @property
    def stub(self) -> ApprovalServiceStub:
        """The generated stub behind this client, for what it does not cover. Raises RuntimeError outside."""
        if self._channel is None:
            raise RuntimeError("use the client inside `async with`")
        return ApprovalServiceStub(self._channel)

    async def request_approval(
        self,
        *,
        title: str,
        content: str | bytes,
        policy: str,
        media_type: str = "text/plain",
        required_approver: str = "",
        manager_approver: str = "",
        assignments: Mapping[str, Sequence[str]] | None = None,
        priority: str = "NORMAL",
        subject_id: str = "",
        deadline: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: uuid.UUID | str | None = None,
    ) -> PendingApproval:
        """Asks for a decision; when this returns, the request is in the log and cannot be lost.

        `required_approver` and `manager_approver` fill the slots of these names; `assignments` fills any slot
        with people. `priority` is URGENT, HIGH, NORMAL or LOW; `deadline` is aware of its time zone.
        `request_id` is your idempotency key: give your own to ask again safely after a crash of your program.
        """
        request = approval_service_pb2.RequestApprovalRequest(
            request_id=str(request_id or uuid.uuid4()),
            title=title,
            content=content_of(content, media_type),
            approval=approval_service_pb2.ApprovalPayload(),
            policy=policy,
            assignments=assignments_of(required_approver, manager_approver, assignments or {}),
            priority=enum_value(event_pb2.Priority.Value, event_pb2.Priority.keys(), "priority", priority),
            subject_id=subject_id,
            deadline_time=_timestamp(deadline),
            labels=dict(labels or {}),
        )
        answer = await converge(lambda: self.stub.RequestApproval(request), patience=self._patience)
        return PendingApproval(answer.approval_id, answer.content_digest, answer.log_index, self.stub)

    async def outcome(self, approval_id: str, timeout: float | None = None) -> Outcome:
        """Waits for a request's outcome; see PendingApproval.outcome."""
        return await await_outcome(self.stub, approval_id, timeout)

    async def get(self, approval_id: str, *, min_log_index: int = 0) -> approval_pb2.Approval:
        """A request with its whole path, read at `min_log_index` or later."""
        request = approval_service_pb2.GetApprovalRequest(
            approval_id=approval_id, min_log_index=min_log_index
        )
        return (await converge(lambda: self.stub.GetApproval(request), patience=self._patience)).approval

    async def get_content(
        self, approval_id: str, content_digest: bytes | None = None
    ) -> approval_service_pb2.GetContentResponse:
        """What is to be decided: the bytes as they were sent, their type, and the text extracted from them.

        Show its `warnings` before it: what may look like something else than it is. `content_digest` is the
        SHA-256 of the bytes; None: of the request as it stands now. Whoever may see the request may see its
        content.
        """
        digest = content_digest or (await self.get(approval_id)).content_digest
        request = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest)
        return await converge(lambda: self.stub.GetContent(request), patience=self._patience)

    async def list(
        self,
        *,
        states: Iterable[str] = (),
        policy: str = "",
        subject_id: str = "",
        waiting_for_me: bool = False,
        limit: int = 50,
        min_log_index: int = 0,
    ) -> approval_service_pb2.ListApprovalsResponse:
        """At most `limit` requests that the caller may see, newest first; with `next_page_token` if more."""
        found = approval_service_pb2.ListApprovalsResponse()
        chosen = filter_of(states, policy, subject_id, waiting_for_me=waiting_for_me)
        while (missing := limit - len(found.approvals)) > 0:
            request = approval_service_pb2.ListApprovalsRequest(
                filter=chosen,
                page_size=min(missing, _PAGE),
                page_token=found.next_page_token,
                min_log_index=min_log_index,
            )
            page = await self._page(request)
            found.approvals.extend(page.approvals)
            found.next_page_token = page.next_page_token
            if not page.next_page_token:
                break
        return found

    async def watch(
        self,
        *,
        states: Iterable[str] = (),
        policy: str = "",
        subject_id: str = "",
        waiting_for_me: bool = False,
        from_log_index: int | None = None,
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        """Each change as it becomes durable, from `from_log_index` on; None: from now.

        A stream that breaks off or ends with its token is resumed where it ended, for as long as the service
        is not away for longer than `patience` seconds at a time.
        """
        request = approval_service_pb2.WatchApprovalsRequest(
            filter=filter_of(states, policy, subject_id, waiting_for_me=waiting_for_me),
            from_log_index=from_log_index,
        )
        waits, alive = pauses(), time.monotonic()
        while True:
            call = self.stub.WatchApprovals(request)
            try:
                async for change in call:
                    waits, alive = pauses(), time.monotonic()
                    # Signs of life too say where to resume.
                    request.from_log_index = change.next_log_index
                    if change.HasField("entry"):
                        yield change
            except PlacetError as error:
                if not ends_stream_only(error) or time.monotonic() - alive > self._patience:
                    raise
            finally:
                call.cancel()
            # Ended by an error or by a service that stops: both are resumed.
            await asyncio.sleep(next(waits))

    async def decide(
        self,
        approval_id: str,
        verdict: str,
        *,
        reason: str = "",
        shown: approval_pb2.Approval | None = None,
        content_digest: bytes | None = None,
        command_id: uuid.UUID | str | None = None,
    ) -> approval_pb2.CommandResult:
        """Decides: `verdict` is APPROVE or REJECT, which needs a reason.

        `shown` is the request as `get` answered it when it was shown to whoever decides, with its content:
        the decision names content, policy and rendering of it, and is void where one of them is another.
        Without it the decision names the content alone: `content_digest`, or that of the request as it stands
        now. Answers EFFECTIVE, or ACCEPTED when it is durable and not processed yet: then the same
        `command_id` tells its result.
        """
        request = approval_service_pb2.SubmitDecisionRequest(
            approval_id=approval_id,
            command_id=str(command_id or uuid.uuid4()),
            approval=approval_service_pb2.ApprovalAnswer(
                verdict=enum_value(event_pb2.Verdict.Value, event_pb2.Verdict.keys(), "verdict", verdict)
            ),
            reason=reason,
        )
        if shown is not None:
            request.policy_digest = shown.policy_digest
            request.rendering = shown.rendering
        request.content_digest = content_digest or (shown or await self.get(approval_id)).content_digest
        answer = await converge(lambda: self.stub.SubmitDecision(request), patience=self._patience)
        return answer.result

    async def cancel(
        self, approval_id: str, *, reason: str = "", command_id: uuid.UUID | str | None = None
    ) -> approval_pb2.CommandResult:
        """Withdraws a request; answers as `decide` does."""
        request = approval_service_pb2.CancelApprovalRequest(
            approval_id=approval_id, command_id=str(command_id or uuid.uuid4()), reason=reason
        )
        answer = await converge(lambda: self.stub.CancelApproval(request), patience=self._patience)
        return answer.result

    async def comment(
        self, approval_id: str, text: str, *, command_id: uuid.UUID | str | None = None
    ) -> approval_pb2.CommandResult:
        """Adds a comment to an open request; answers as `decide` does."""
        request = approval_service_pb2.AddCommentRequest(
            approval_id=approval_id, command_id=str(command_id or uuid.uuid4()), text=text
        )
        answer = await converge(lambda: self.stub.AddComment(request), patience=self._patience)
        return answer.result

    async def policies(self, *, all_versions: bool = False) -> Sequence[approval_pb2.Policy]:
        """The policies that requests may name; with `all_versions` also those that older requests keep."""
        found: list[approval_pb2.Policy] = []
        token = ""
        while True:
            request = approval_service_pb2.ListPoliciesRequest(
                all_versions=all_versions, page_size=_PAGE, page_token=token
            )
            page = await converge(partial(self.stub.ListPolicies, request), patience=self._patience)
            found += page.policies
            token = page.next_page_token
            if not token:
                return found

    async def policy(self, name: str, version: int = 0) -> approval_pb2.Policy:
        """A policy with its body; version 0: the current one. Raises NotFound (UNKNOWN_POLICY)."""
        request = approval_service_pb2.GetPolicyRequest(name=name, version=version)
        answer = await converge(lambda: self.stub.GetPolicy(request), patience=self._patience)
        return answer.policy

    async def decision_stats(
        self, *, window: timedelta | None = None, policy: str = "", parts: int = 0
    ) -> approval_service_pb2.GetDecisionStatsResponse:
        """Statistics of the decisions of the last `window`, by policy. For operators and auditors.

        `window`: default that of the fallback alarm. `parts`: into how many parts decisions are counted too.
        """
        request = approval_service_pb2.GetDecisionStatsRequest(policy=policy, parts=parts)
        if window is not None:
            request.window.FromTimedelta(window)
        return await converge(partial(self.stub.GetDecisionStats, request), patience=self._patience)

    async def erase(
        self, approval_id: str, *, reason: str, before_retention: bool = False
    ) -> approval_service_pb2.EraseApprovalResponse:
        """Erases what a closed request says in words, for good; `reason` is kept. For operators.

        `before_retention`: also before the time is over for which requests are kept.
        """
        request = approval_service_pb2.EraseApprovalRequest(
            approval_id=approval_id, reason=reason, before_retention=before_retention
        )
        return await converge(lambda: self.stub.EraseApproval(request), patience=self._patience)

    async def _page(
        self, request: approval_service_pb2.ListApprovalsRequest
    ) -> approval_service_pb2.ListApprovalsResponse:
        return await converge(lambda: self.stub.ListApprovals(request), patience=self._patience)


def assignments_of(
    required_approver: str, manager_approver: str, assignments: Mapping[str, Sequence[str]]
) -> Iterable[approval_pb2.Assignment]:
    """The contract's assignments, slot by slot."""
    named: dict[str, list[str]] = {}
    for slot, person in (("required_approver", required_approver), ("manager_approver", manager_approver)):
        if person:
            named[slot] = [person]
    for slot, people in assignments.items():
        named.setdefault(slot, []).extend(people)
    return [approval_pb2.Assignment(slot=slot, people=people) for slot, people in named.items()]


def filter_of(
    states: Iterable[str], policy: str, subject_id: str, *, waiting_for_me: bool
) -> approval_service_pb2.ApprovalFilter:
    """The contract's filter. Raises InvalidArgument for a state that does not exist."""
    value, names = event_pb2.State.Value, event_pb2.State.keys()
    return approval_service_pb2.ApprovalFilter(
        states=[enum_value(value, names, "filter.states", state) for state in states],
        policy=policy,
        subject_id=subject_id,
        waiting_for_me=waiting_for_me,
    )


def enum_value(value: Callable[[str], _Number], names: Sequence[str], field: str, name: str) -> _Number:
    """The number of an enum's value by its `name` without prefix, in any case. Raises InvalidArgument.

    `value` and `names` are the generated enum's `Value` and `keys()`.
    """
    prefix = names[0].removesuffix("UNSPECIFIED")
    known = [full.removeprefix(prefix) for full in names if not full.endswith("UNSPECIFIED")]
    if name.upper() not in known:
        choice = ", ".join(known)
        violation = FieldViolation(field, f"must be one of {choice}")
        raise InvalidArgument(f"{name!r} is not one of {choice}", violations=[violation])
    return value(prefix + name.upper())


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        violation = FieldViolation("deadline", "must say its time zone")
        raise InvalidArgument("the deadline does not say its time zone", violations=[violation])
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _path_from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
