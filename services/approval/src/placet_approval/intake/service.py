"""Intake of a request: stores it, logs it and starts its workflow, in this order.

So no request is accepted that is not recorded. Each step is idempotent; after a crash in between, the
caller's retry or recovery resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import Extracted
from placet_approval.content.extractor import Extractor
from placet_approval.intake.facts import FactKinds, logged_facts
from placet_approval.intake.validation import RequestRules, check
from placet_approval.intake.workflow_start import WorkflowStarter
from placet_approval.projection.projections import Projections
from placet_approval.store.policies import PolicyStore, StoredPolicy
from placet_approval.store.requests import Content, Request, RequestStore
from placet_approval.store.view import ViewStore
from placet_domain.events import Assignment
from placet_domain.ids import approval_id
from placet_rpc.errors import AlreadyExists, FieldViolation, InvalidArgument, Unimplemented
from placet_rpc.identity import Principal, actor_of
from placet_telemetry import current_traceparent


class Intake:
    """Accepts requests."""

    def __init__(
        self,
        requests: RequestStore,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        starter: WorkflowStarter,
        policies: PolicyStore,
        kinds: FactKinds,
        clock_scale: float,
    ) -> None:
        self._requests = requests
        self._views = views
        self._projections = projections
        self._log = log
        self._starter = starter
        self._policies = policies
        self._kinds = kinds
        self._clock_scale = clock_scale
        self._extractor = Extractor()

    async def accept(
        self, message: approval_service_pb2.RequestApprovalRequest, principal: Principal
    ) -> approval_service_pb2.RequestApprovalResponse:
        """Accepts a request, or answers with the one that the same call made before.

        Raises InvalidArgument, Unimplemented (KIND_NOT_SERVED), AlreadyExists (ID_REUSED), ResourceExhausted
        (TENANT_BUSY), Unavailable.
        """
        check_served(message.WhichOneof("payload"))
        its_id = approval_id(principal.tenant, principal.subject, message.request_id)
        content_digest = hashlib.sha256(message.content.body).digest()
        request_digest = _request_digest(message, content_digest)
        # An accepted request stays accepted, even if its deadline has passed or its policy is gone.
        request, is_new = await self._earlier(principal.tenant, its_id, request_digest), False
        if request is None:
            new = await self._new_request(message, principal, its_id, content_digest, request_digest)
            request, is_new = await self._requests.insert(*new)
        if request.payload_digest != request_digest:
            raise _id_reused(message.request_id)
        # A tenant's first request starts its projection, which follows its log from now on.
        self._projections.of(principal.tenant).expect(its_id, request.labels)
        log_index = await (self._log_and_start(request, is_new=True) if is_new else self.resume(request))
        return approval_service_pb2.RequestApprovalResponse(
            approval_id=its_id, content_digest=content_digest, log_index=log_index
        )

    async def resume(self, request: Request) -> int:
        """Logs and starts a stored request, unless it was started; returns the index of `received`.

        Raises Unavailable.
        """
        path = await self._views.path(request.tenant, request.approval_id)
        if len(path) > 1:
            await self._check_logged(request, path[0])
            return path[0].index
        return await self._log_and_start(request, is_new=False)

    async def _log_and_start(self, request: Request, is_new: bool) -> int:
        event = event_pb2.Event.FromString(request.received)
        stored = await self._log.append_first(request.tenant, request.approval_id, event)
        await self._check_logged(request, stored[0])
        # With more entries, its workflow was started; WorkflowRecovery checks that it still runs.
        if len(stored) == 1:
            await self._starter.start(request, stored, is_new=is_new)
        return stored[0].index

    async def _check_logged(self, request: Request, first: event_pb2.LogEntry) -> None:
        """Discards the request and raises AlreadyExists (ID_REUSED) if the log holds another one with its id.

        This database was lost or restored from an older copy meanwhile: the log is right.
        """
        if first.entry.event.received.request_digest != request.payload_digest:
            await self._requests.discard(request)
            raise _id_reused(first.entry.event.cause_id)

    async def _earlier(self, tenant: str, its_id: str, request_digest: bytes) -> Request | None:
        """The request that was stored with this id before, unless the log holds another one."""
        request = await self._requests.get(tenant, its_id)
        if (
            request is not None
            and request.payload_digest != request_digest
            and await self._discarded(request)
        ):
            return None
        return request

    async def _discarded(self, request: Request) -> bool:
        """True if the log holds another request with this id, so that the stored one was discarded."""
        path = await self._log.events_of(request.tenant, request.approval_id)
        try:
            if path:
                await self._check_logged(request, path[0])
        except AlreadyExists:
            return True
        return False

    async def _new_request(
        self,
        message: approval_service_pb2.RequestApprovalRequest,
        principal: Principal,
        its_id: str,
        content_digest: bytes,
        request_digest: bytes,
    ) -> tuple[Request, Content]:
        """The request and its content, to be stored. Raises InvalidArgument."""
        received, extracted = await self._checked(message, principal)
        received.received.content_digest = content_digest
        received.received.request_digest = request_digest
        request = Request(
            tenant=principal.tenant,
            approval_id=its_id,
            payload_digest=request_digest,
            received=received.SerializeToString(deterministic=True),
            processed=extracted.processed.model_dump_json(),
            policy_digest=received.received.policy_digest,
            labels=dict(message.labels),
            create_time=received.time.ToDatetime(tzinfo=UTC),
        )
        its_content = Content(
            digest=content_digest,
            media_type=message.content.media_type,
            body=message.content.body,
            text=extracted.text,
        )
        return request, its_content

    async def _checked(
        self, message: approval_service_pb2.RequestApprovalRequest, principal: Principal
    ) -> tuple[event_pb2.Event, Extracted]:
        """A request's `received` event without digests, and its content's text. Raises InvalidArgument."""
        current = self._policies.current
        known = {name: one.policy for name, one in current.items()}
        rules = _rules_of(message, principal, self._kinds.violations(message.facts))
        policy = current[check(rules, known, datetime.now(UTC)).name]
        try:
            content = message.content
            extracted = await self._extractor.extract(principal.tenant, content.body, content.media_type)
        except Unreadable as error:
            raise _invalid("content.body", str(error)) from error
        return self._received(message, principal, policy), extracted

    def _received(
        self,
        message: approval_service_pb2.RequestApprovalRequest,
        principal: Principal,
        policy: StoredPolicy,
    ) -> event_pb2.Event:
        received = event_pb2.Received(
            kind=event_pb2.REQUEST_KIND_APPROVAL,
            title=event_pb2.Erasable(value=message.title),
            subject_id=message.subject_id,
            priority=message.priority or event_pb2.PRIORITY_NORMAL,
            policy=policy.policy.name,
            policy_version=policy.policy.version,
            policy_digest=policy.digest,
            content_size=len(message.content.body),
            media_type=message.content.media_type,
            assignments=[
                event_pb2.Assignment(
                    slot=one.slot, people=[event_pb2.Erasable(value=person) for person in one.people]
                )
                for one in message.assignments
            ],
            clock_scale=self._clock_scale,
            automatic_limits=event_pb2.AutomaticLimits(
                most_an_hour=policy.policy.automatic.most_an_hour or 0,
                most_a_day=policy.policy.automatic.most_a_day or 0,
            ),
        )
        if message.HasField("deadline_time"):
            received.deadline_time.CopyFrom(message.deadline_time)
        if message.HasField("facts"):
            received.facts.CopyFrom(logged_facts(message.facts))
        event = event_pb2.Event(
            actor=actor_of(principal),
            cause_id=message.request_id,
            traceparent=current_traceparent(),
            received=received,
        )
        event.time.FromDatetime(datetime.now(UTC))
        return event


def check_served(kind: str | None) -> None:
    """Raises Unimplemented (KIND_NOT_SERVED) for a kind that is in the contract but not served."""
    if kind != "approval":
        name = (kind or "unspecified").upper()
        raise Unimplemented(
            f"requests of kind {name} are not served yet; only APPROVAL is",
            reason="KIND_NOT_SERVED",
            metadata={"kind": name},
        )


def _id_reused(request_id: str) -> AlreadyExists:
    return AlreadyExists(
        f"request_id {request_id} was used for another request; use a new one",
        reason="ID_REUSED",
        metadata={"request_id": request_id},
    )


def _rules_of(
    message: approval_service_pb2.RequestApprovalRequest,
    principal: Principal,
    facts: Sequence[FieldViolation],
) -> RequestRules:
    return RequestRules(
        fact_violations=facts,
        requester=principal.subject,
        policy=message.policy,
        assignments=[
            Assignment(slot=one.slot, people=tuple(one.people), groups=tuple(one.groups))
            for one in message.assignments
        ],
        deadline_time=(
            checked_time("deadline_time", message.deadline_time)
            if message.HasField("deadline_time")
            else None
        ),
    )


def checked_time(field: str, timestamp: Timestamp) -> datetime:
    """The time in a field. Raises InvalidArgument for one that is invalid (see timestamp.proto)."""
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(field, "is not a time between the years 1 and 9999") from error


def _invalid(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {description}", violations=[FieldViolation(field, description)])


def _request_digest(message: approval_service_pb2.RequestApprovalRequest, content_digest: bytes) -> bytes:
    """SHA-256 of the message, with the digest in place of its content."""
    copy = approval_service_pb2.RequestApprovalRequest()
    copy.CopyFrom(message)
    copy.content.body = content_digest
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()
