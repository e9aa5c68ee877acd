"""Client of AuditService: a few calls, each for one tenant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager

from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_approval.store.erasure_store import redact
from placet_logtail import Batch
from placet_proof import VerifierKey
from placet_rpc.errors import DataLoss, OutOfRange, Unavailable
from placet_rpc.identity import acting_for, current_token

PAGE = 1000


class AuditLog:
    """The calls. They raise placet_rpc's typed errors; Unavailable while AuditService does not answer.

    Calls that append raise DataLoss (LOG_INCONSISTENT) while the log is inconsistent.
    """

    def __init__(self, stub: AuditServiceStub, keys: Sequence[VerifierKey]) -> None:
        """`keys`: those of the attestations in the log."""
        self._stub = stub
        self.keys = keys

    async def append_first(
        self, tenant: str, approval_id: str, event: event_pb2.Event
    ) -> Sequence[event_pb2.LogEntry]:
        """Appends a request's first event, unless it has one; returns all of its entries, one or more."""
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=approval_id, expected_next=1, events=[event]
        )
        with acting_for(tenant), _reporting_inconsistency():
            response = await self._stub.AppendEvents(request)
        return response.entries

    async def append_for_tenant(self, tenant: str, event: event_pb2.Event) -> event_pb2.LogEntry:
        """Appends an event of the tenant itself, once by its cause_id; its entry."""
        with acting_for(tenant):
            response = await self._stub.AppendEvents(audit_service_pb2.AppendEventsRequest(events=[event]))
        return response.entries[0]

    async def erase(
        self, tenant: str, approval_id: str, reason: str, *, before_retention: bool
    ) -> event_pb2.LogEntry:
        """Erases the values of a request's entries; returns the `erased` entry, a new one or the last.

        The call carries the token of the operator whose call is being handled: no program may erase.
        """
        request = audit_service_pb2.EraseEventsRequest(
            approval_id=approval_id, reason=reason, before_retention=before_retention
        )
        operators_word = (("authorization", f"Bearer {current_token()}"),)
        with acting_for(tenant), _reporting_inconsistency():
            return (await self._stub.EraseEvents(request, metadata=operators_word)).entry

    async def events_of(
        self, tenant: str, approval_id: str, timeout: float | None = None
    ) -> list[event_pb2.LogEntry]:
        """All of a request's entries, in order. `timeout`: seconds for each page; default the channel's."""
        entries: list[event_pb2.LogEntry] = []
        token = ""
        while True:
            request = audit_service_pb2.ListEventsRequest(
                filter=audit_service_pb2.EventFilter(approval_id=approval_id),
                page_size=PAGE,
                page_token=token,
            )
            with acting_for(tenant):
                response = await self._stub.ListEvents(request, timeout=timeout)
            entries += response.entries
            token = response.next_page_token
            if not token:
                return entries

    async def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Batch[event_pb2.LogEntry], None]:
        """Streams every entry from an index on, as it becomes durable, until the stream breaks."""
        with acting_for(tenant):
            call = self._stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=from_index))
        try:
            async for response in call:
                yield Batch(response.entries, response.next_log_index, response.size)
        finally:
            call.cancel()

    async def begins_with(self, tenant: str, size: int, known: event_pb2.LogEntry | None) -> bool:
        """Tells whether the log has at least `size` entries, and the known one, if any, among them.

        Values erased since are ignored.
        """
        try:
            async with aclosing(self.tail(tenant, size if known is None else known.index)) as tail:
                first = await anext(tail, None)
        except OutOfRange:
            return False
        if first is None:
            raise Unavailable("the tail of the audit log ended")
        if known is None or first.end < size:
            return first.end >= size
        return bool(first.items) and _without_erasable(first.items[0]) == _without_erasable(known)


def _without_erasable(entry: event_pb2.LogEntry) -> bytes:
    """The entry as the log holds it, serialized without its erasable values."""
    copy = event_pb2.LogEntry()
    copy.CopyFrom(entry)
    redact(copy)
    # A reader's note, not the log's.
    copy.ClearField("fault")
    return copy.SerializeToString(deterministic=True)


@contextmanager
def _reporting_inconsistency() -> Iterator[None]:
    try:
        yield
    except DataLoss as error:
        raise DataLoss(
            "The audit log is inconsistent and takes no entries, so nothing is accepted until an operator "
            "has repaired it; then send the same call again.",
            reason="LOG_INCONSISTENT",
            metadata={"dependency": "audit"},
        ) from error
