"""The client of ApprovalService."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc.aio

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.audit.v1 import audit_service_pb2, proof_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_client.approvals import PendingApproval, await_outcome
from placet_client.messages import (
    Selection,
    assignments_of,
    content_of,
    enum_value,
    facts_of,
    filter_of,
    key_of,
    timestamp_of,
)
from placet_client.outcome import Outcome
from placet_client.retry import converge, pauses
from placet_rpc.client import channel, check_process, tls_from_environment
from placet_rpc.content import check_digest
from placet_rpc.errors import PlacetError, ends_stream_only
from placet_rpc.tls import ClientTls
from placet_rpc.tokens.sources import FileTokenSource, TokenSource

_Stub = TypeVar("_Stub")

# Seconds after which a call that keeps failing in passing ways is given up.
PATIENCE = 30.0
_PAGE = 500


class PlacetClient:
    """Asks for decisions, decides, and reads the results of requests. Made by `connect`, for `async with`.

    Every call that may be sent twice is: with the same id while the service cannot be reached, for `patience`
    seconds in all. Errors are those of `placet_rpc.errors`.
    """

    def __init__(
        self,
        address: str,
        tokens: TokenSource,
        *,
        audit_address: str = "",
        patience: float = PATIENCE,
        tls: ClientTls | None = None,
    ) -> None:
        """See `connect`."""
        self._address = address
        self._audit_address = audit_address
        self._tokens = tokens
        self._patience = patience
        self._tls = tls
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._process: int | None = None  # that opened the client

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        tokens: TokenSource | Path | str | None = None,
        *,
        audit_address: str | None = None,
        patience: float = PATIENCE,
        tls: ClientTls | None = None,
    ) -> Self:
        """A client of ApprovalService at `address` (host:port; default PLACET_APPROVAL_ADDRESS).

        `tokens` says who calls: a token source, or the path of the file that holds the token (default
        PLACET_TOKEN_FILE), which is read again when it is replaced. `audit_address` (default
        PLACET_AUDIT_ADDRESS) is AuditService's; only `receipt` needs it. `tls` names PEM files (default
        PLACET_TLS_CA_FILE and the other variables of callers); without any the connection is plain. The first
        call connects. Raises ValueError if neither argument nor variable says where or who, or the variables
        say half of how to speak TLS.
        """
        address = address or os.environ.get("PLACET_APPROVAL_ADDRESS")
        tokens = tokens or _path_from_environment("PLACET_TOKEN_FILE")
        if not address or tokens is None:
            raise ValueError("say address and tokens, or set PLACET_APPROVAL_ADDRESS and PLACET_TOKEN_FILE")
        source = FileTokenSource(Path(tokens)) if isinstance(tokens, Path | str) else tokens
        return cls(
            address,
            source,
            audit_address=audit_address or os.environ.get("PLACET_AUDIT_ADDRESS", ""),
            patience=patience,
            tls=tls or tls_from_environment(),
        )

    async def __aenter__(self) -> Self:
        """Opens the client. Raises OSError if a file of `tls` cannot be read."""
        self._process = os.getpid()
        self._channels[self._address] = channel(self._address, self._tokens, tls=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connections. A forked process leaves them to the process that opened them."""
        channels, self._channels = list(self._channels.values()), {}
        if self._process == os.getpid():
            for opened in channels:
                await opened.close()
        self._process = None

    @property
    def stub(self) -> ApprovalServiceStub:
        """The generated stub behind this client, for RPCs that it does not cover.

        Raises RuntimeError outside `async with`, and UsedInFork in a fork of the process that opened the
        client.
        """
        return self._stub_of(ApprovalServiceStub, self._address)

    def _stub_of(self, stub: Callable[[grpc.aio.Channel], _Stub], address: str) -> _Stub:
        check_open(self._process, "async with")
        if address not in self._channels:
            self._channels[address] = channel(address, self._tokens, tls=self._tls)
        return stub(self._channels[address])

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
        facts: Mapping[str, str] | None = None,
        request_id: uuid.UUID | str | None = None,
    ) -> PendingApproval:
        """Asks for a decision; when this returns, the request is in the log and cannot be lost.

        `required_approver` and `manager_approver` fill the slots of these names; `assignments` fills any slot
        with people. `priority` is URGENT, HIGH, NORMAL or LOW; `deadline` is aware of its time zone.
        `facts` says what the action is: `kind` ("payment"), `amount` ("120.50 EUR"), `counterparty`,
        `target`, `environment`, and others by any name; the kind says which it needs.
        `request_id` is your idempotency key: give your own to ask again safely after a crash of your program.
        An empty one is refused. Warns (UserWarning) where all managers are approvers too, so that nobody else
        is asked after a silence.
        """
        request = approval_service_pb2.RequestApprovalRequest(
            request_id=key_of(request_id),
            title=title,
            content=content_of(content, media_type),
            approval=approval_service_pb2.ApprovalPayload(),
            policy=policy,
            assignments=assignments_of(required_approver, manager_approver, assignments or {}),
            priority=enum_value(event_pb2.Priority.Value, event_pb2.Priority.keys(), "priority", priority),
            subject_id=subject_id,
            deadline_time=timestamp_of("deadline", deadline),
            labels=dict(labels or {}),
            facts=facts_of(facts) if facts else None,
        )
        answer = await converge(lambda: self.stub.RequestApproval(request), patience=self._patience)
        return PendingApproval(answer.approval_id, answer.content_digest, answer.log_index, self)

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
        """The content: the bytes as they were sent, their type, and the text extracted from them.

        Show its `warnings` before it: what may look like something else than it is. `content_digest` is the
        SHA-256 of the bytes; None: of the request as it stands now. Whoever may see the request may see its
        content. Raises DataLoss (CONTENT_MISMATCH) for other bytes than the digest names.
        """
        digest = content_digest or (await self.get(approval_id)).content_digest
        request = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest)
        answer = await converge(lambda: self.stub.GetContent(request), patience=self._patience)
        check_digest(answer, approval_id, digest)
        return answer

    async def list(
        self, *, limit: int = 50, page_token: str = "", min_log_index: int = 0, **selection: Unpack[Selection]
    ) -> approval_service_pb2.ListApprovalsResponse:
        """At most `limit` requests that the caller may see and that `selection` selects, newest first.

        `page_token` is the `next_page_token` of an answer with the same selection, which is empty at the end.
        """
        found = approval_service_pb2.ListApprovalsResponse(next_page_token=page_token)
        chosen = filter_of(selection)
        while (missing := limit - len(found.approvals)) > 0:
            request = approval_service_pb2.ListApprovalsRequest(
                filter=chosen,
                page_size=min(missing, _PAGE),
                page_token=found.next_page_token,
                min_log_index=min_log_index,
            )
            page = await converge(partial(self.stub.ListApprovals, request), patience=self._patience)
            found.approvals.extend(page.approvals)
            found.next_page_token = page.next_page_token
            if not page.next_page_token:
                break
        return found

    async def watch(
        self, *, from_log_index: int | None = None, **selection: Unpack[Selection]
    ) -> AsyncGenerator[approval_service_pb2.WatchApprovalsResponse, None]:
        """Each change to the requests of `selection` as it becomes durable, from `from_log_index` or now on.

        A stream that breaks off or ends with its token is resumed where it ended, with the token that its
        source has by then, for as long as the service is not away for longer than `patience` seconds at a
        time. A revoked token without another in its place is an error at once.
        """
        request = approval_service_pb2.WatchApprovalsRequest(
            filter=filter_of(selection), from_log_index=from_log_index
        )
        waits, alive = pauses(), time.monotonic()
        while True:
            token = self._tokens.token()
            call = self.stub.WatchApprovals(request)
            try:
                async for change in call:
                    waits, alive = pauses(), time.monotonic()
                    # Signs of life too say where to resume.
                    request.from_log_index = change.next_log_index
                    if change.HasField("entry"):
                        yield change
            except PlacetError as error:
                goes_on = ends_stream_only(error, fresh_token=self._tokens.token() != token)
                if not goes_on or time.monotonic() - alive > self._patience:
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
        now. Answers EFFECTIVE, or ACCEPTED when it is durable and not processed yet: then `get_command`
        returns its result.
        """
        request = approval_service_pb2.SubmitDecisionRequest(
            approval_id=approval_id,
            command_id=key_of(command_id),
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
            approval_id=approval_id, command_id=key_of(command_id), reason=reason
        )
        answer = await converge(lambda: self.stub.CancelApproval(request), patience=self._patience)
        return answer.result

    async def comment(
        self, approval_id: str, text: str, *, command_id: uuid.UUID | str | None = None
    ) -> approval_pb2.CommandResult:
        """Adds a comment to an open request; answers as `decide` does."""
        request = approval_service_pb2.AddCommentRequest(
            approval_id=approval_id, command_id=key_of(command_id), text=text
        )
        answer = await converge(lambda: self.stub.AddComment(request), patience=self._patience)
        return answer.result

    async def get_command(self, approval_id: str, command_id: uuid.UUID | str) -> approval_pb2.CommandResult:
        """The result of a command, REFUSED too. Raises NotFound (UNKNOWN_COMMAND)."""
        request = approval_service_pb2.GetCommandRequest(approval_id=approval_id, command_id=str(command_id))
        answer = await converge(lambda: self.stub.GetCommand(request), patience=self._patience)
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

    async def receipt(self, approval_id: str) -> proof_pb2.Receipt:
        """A request's entries with the proof that the log holds them, which `libs/proof` verifies offline.

        Asks AuditService. Raises ValueError when its address is not known.
        """
        if not self._audit_address:
            raise ValueError("say audit_address, or set PLACET_AUDIT_ADDRESS")
        stub = self._stub_of(AuditServiceStub, self._audit_address)
        request = audit_service_pb2.GetReceiptRequest(approval_id=approval_id)
        return (await converge(lambda: stub.GetReceipt(request), patience=self._patience)).receipt


def check_open(opened_in: int | None, statement: str) -> None:
    """Raises RuntimeError unless the client is open, which it is by `statement`, and UsedInFork in a fork."""
    if opened_in is None:
        raise RuntimeError(f"use the client inside `{statement}`")
    check_process(opened_in, "client")


def _path_from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
