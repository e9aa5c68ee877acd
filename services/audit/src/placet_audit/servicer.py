"""pb2 <-> domain: what a call asks, who asks it, and how the answer reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, event_pb2
from placet_audit.authority import check_writer
from placet_audit.domain import (
    DEFAULT_PAGE,
    MAX_PAGE,
    TENANT_LEVEL,
    Append,
    Page,
    check_append,
    page_token,
    read_page_token,
)
from placet_audit.feed import Feed
from placet_audit.leaf import disclose, seal
from placet_audit.sequencer import Sequencer
from placet_audit.store import Store
from placet_rpc import identity


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """AuditService as `audit_service.proto` promises it. The tenant is always the caller's own."""

    def __init__(self, store: Store, sequencer: Sequencer, feed: Feed[event_pb2.LogEntry]) -> None:
        self._store = store
        self._sequencer = sequencer
        self._feed = feed

    async def AppendEvents(
        self,
        request: audit_service_pb2.AppendEventsRequest,
        context: object,
    ) -> audit_service_pb2.AppendEventsResponse:
        """Compare and append. Events of the tenant: appended is true if any of them was new."""
        caller = identity.current()
        kinds = [event.WhichOneof("body") or "" for event in request.events]
        check_writer(caller.roles, kinds, expected_next=request.expected_next)
        append = to_append(caller.tenant, request)
        check_append(append)
        placed = await self._sequencer.append(append)
        entries = placed.new if placed.complete else (await self._stored(append)).entries
        return audit_service_pb2.AppendEventsResponse(
            appended=bool(placed.new), entries=[self._feed.answer(entry) for entry in entries]
        )

    async def ListEvents(
        self,
        request: audit_service_pb2.ListEventsRequest,
        context: object,
    ) -> audit_service_pb2.ListEventsResponse:
        """A page. It ends early when its entries are large; then too the token leads on."""
        tenant, approval_id = identity.current().tenant, request.approval_id
        from_index = request.from_index
        if request.page_token:
            from_index = read_page_token(request.page_token, tenant, approval_id)
        limit = request.page_size or DEFAULT_PAGE
        if approval_id:
            page = await self._store.entries_of_request(
                tenant, approval_id, from_index=from_index, limit=limit
            )
        else:
            page = await self._store.entries(tenant, from_index, limit)
        return audit_service_pb2.ListEventsResponse(
            entries=[disclose(entry) for entry in page.entries],
            next_page_token=page_token(tenant, approval_id, page.entries[-1].index + 1) if page.more else "",
            size=await self._store.size(tenant),
        )

    async def TailEvents(
        self,
        request: audit_service_pb2.TailEventsRequest,
        context: object,
    ) -> AsyncIterator[audit_service_pb2.TailEventsResponse]:
        """History, then the live log, until the caller goes away."""
        async with aclosing(self._feed.tail(identity.current().tenant, request.from_index)) as stretches:
            async for stretch in stretches:
                yield audit_service_pb2.TailEventsResponse(entries=stretch.answers, size=stretch.size)

    async def _stored(self, append: Append) -> Page:
        if append.approval_id == TENANT_LEVEL:
            causes = list({draft.cause_id for draft in append.drafts})
            return await self._store.entries_by_cause(append.tenant, causes)
        return await self._store.entries_of_request(
            append.tenant, append.approval_id, from_number=append.expected_next, limit=MAX_PAGE
        )


def to_append(tenant: str, request: audit_service_pb2.AppendEventsRequest) -> Append:
    """The append that a call asks for, sealed. Raises InvalidArgument as `seal` does."""
    drafts = []
    for position, event in enumerate(request.events):
        number = request.expected_next + position if request.approval_id else 0
        entry = event_pb2.Entry(tenant=tenant, approval_id=request.approval_id, number=number, event=event)
        drafts.append(seal(entry, field=f"events[{position}]"))
    return Append(tenant, request.approval_id, request.expected_next, tuple(drafts))
