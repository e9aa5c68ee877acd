"""RPCs of AuditService: pb2 <-> domain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, proof_pb2
from placet.event.v1 import event_pb2
from placet_audit.authority import check_erasable, check_reader, check_writer
from placet_audit.automation_store import AutomationStore
from placet_audit.domain import (
    DEFAULT_PAGE,
    MAX_PAGE,
    TENANT_LEVEL,
    Append,
    Draft,
    Entry,
    check_append,
)
from placet_audit.leaf import disclose, seal
from placet_audit.log_keys import LogKeys
from placet_audit.log_stream import LogStream
from placet_audit.merkle_store import inconsistent
from placet_audit.proof_service import ProofService
from placet_audit.sequencer import Sequencer
from placet_audit.store import Store
from placet_logtail import beyond_end
from placet_rpc import identity
from placet_rpc.access_refusals import AppendForTenant
from placet_rpc.errors import Unavailable
from placet_rpc.paging import Listing, capped, number

_LIST_EVENTS = "placet.audit.v1.AuditService/ListEvents"


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """AuditService as `audit_service.proto` promises it. The tenant is always the caller's own."""

    def __init__(
        self,
        store: Store,
        automation: AutomationStore,
        sequencer: Sequencer,
        stream: LogStream,
        proofs: ProofService,
        keys: LogKeys,
        retention: timedelta,
    ) -> None:
        """`retention`: the time after closing during which a request must be kept."""
        self._store = store
        self._automation = automation
        self._sequencer = sequencer
        self._stream = stream
        self._proofs = proofs
        self._keys = keys
        self._retention = retention
        self._attesting = [str(key) for key in keys.attesting]

    async def AppendEvents(
        self,
        request: audit_service_pb2.AppendEventsRequest,
        context: object,
    ) -> audit_service_pb2.AppendEventsResponse:
        """Compares and appends. For events of the tenant, `appended` is true if any of them was new."""
        caller = identity.current()
        check_writer(caller.program, request.events, expected_next=request.expected_next)
        append = to_append(caller.tenant, request)
        check_append(append)
        placed = await self._sequencer.append(append)
        if placed.withheld is not None:
            reason = event_pb2.Erasable(value=placed.withheld.reason)
            index = placed.withheld.switched_off_index
            withheld = event_pb2.Withheld(reason=reason, switched_off_index=index)
            return audit_service_pb2.AppendEventsResponse(withheld=withheld)
        if placed.complete:
            entries = [self._stream.disclosed(entry) for entry in placed.new]
        else:
            entries = await self._stored(append)
        return audit_service_pb2.AppendEventsResponse(appended=bool(placed.new), entries=entries)

    async def ListEvents(
        self,
        request: audit_service_pb2.ListEventsRequest,
        context: object,
    ) -> audit_service_pb2.ListEventsResponse:
        """Lists a page. It may be shorter than asked when its entries are large."""
        tenant, approval_id = identity.current().tenant, request.filter.approval_id
        from_index = request.filter.from_log_index
        listing = Listing(_LIST_EVENTS, tenant, approval_id=approval_id, from_index=from_index)
        if request.page_token:
            from_index = listing.position(request.page_token, number)
        limit = capped(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        if approval_id:
            page = await self._store.entries_of_request(
                tenant, approval_id, from_index=from_index, limit=limit
            )
        else:
            page = await self._store.entries(tenant, from_index, limit)
        return audit_service_pb2.ListEventsResponse(
            entries=[disclose(entry) for entry in page.entries],
            next_page_token=listing.token(str(page.entries[-1].index + 1)) if page.more else "",
            size=await self._store.size(tenant),
        )

    async def TailEvents(
        self,
        request: audit_service_pb2.TailEventsRequest,
        context: object,
    ) -> AsyncIterator[audit_service_pb2.TailEventsResponse]:
        """Streams history, then the live log, until the caller cancels."""
        tenant = identity.current().tenant
        start = request.from_log_index if request.HasField("from_log_index") else None
        async with aclosing(self._stream.follow(tenant, start)) as batches:
            async for batch in batches:
                yield audit_service_pb2.TailEventsResponse(
                    entries=batch.items, size=batch.end, next_log_index=batch.next
                )

    async def GetCheckpoint(
        self,
        request: audit_service_pb2.GetCheckpointRequest,
        context: object,
    ) -> audit_service_pb2.GetCheckpointResponse:
        """Returns the newest checkpoint, and the keys."""
        tenant = identity.current().tenant
        note, size = await self._proofs.checkpoint(tenant)
        return audit_service_pb2.GetCheckpointResponse(
            checkpoint=note, size=size, keys=self._vkeys(tenant), attestation_keys=self._attesting
        )

    async def GetInclusionProof(
        self,
        request: audit_service_pb2.GetInclusionProofRequest,
        context: object,
    ) -> audit_service_pb2.GetInclusionProofResponse:
        """Proves that an entry is in the log."""
        proof = await self._proofs.inclusion(identity.current().tenant, request.log_index, request.size)
        return audit_service_pb2.GetInclusionProofResponse(
            leaf_hash=proof.leaf_hash,
            size=proof.size,
            proof=proof.hashes,
            checkpoint=proof.note,
        )

    async def GetConsistencyProof(
        self,
        request: audit_service_pb2.GetConsistencyProofRequest,
        context: object,
    ) -> audit_service_pb2.GetConsistencyProofResponse:
        """Proves that the log only grew."""
        proof = await self._proofs.consistency(
            identity.current().tenant, request.first_size, request.second_size
        )
        return audit_service_pb2.GetConsistencyProofResponse(
            second_size=proof.size,
            proof=proof.hashes,
            checkpoint=proof.note,
        )

    async def GetReceipt(
        self,
        request: audit_service_pb2.GetReceiptRequest,
        context: object,
    ) -> audit_service_pb2.GetReceiptResponse:
        """Returns a request's path with its proofs, to callers whom it concerns."""
        caller, approval_id = identity.current(), request.approval_id

        def check(path: Sequence[Entry]) -> None:
            check_reader(caller, approval_id, _concerned(_events(path)), exists=bool(path))

        parts = await self._proofs.receipt(caller.tenant, approval_id, check)
        return audit_service_pb2.GetReceiptResponse(
            receipt=proof_pb2.Receipt(
                approval_id=approval_id,
                checkpoint=parts.note,
                keys=self._vkeys(caller.tenant),
                attestation_keys=self._attesting,
                entries=[
                    proof_pb2.ProvenEntry(
                        index=entry.index,
                        leaf=entry.draft.leaf,
                        disclosures=_disclosures(entry),
                        proof=proof,
                    )
                    for entry, proof in parts.entries
                ],
            )
        )

    async def ExportEvents(
        self,
        request: audit_service_pb2.ExportEventsRequest,
        context: object,
    ) -> AsyncIterator[audit_service_pb2.ExportEventsResponse]:
        """Streams all entries up to the newest checkpoint."""
        tenant, following = identity.current().tenant, request.from_log_index
        note, size = await self._proofs.checkpoint(tenant)
        if following > size:
            raise beyond_end(following, size)
        header = proof_pb2.ExportHeader(
            checkpoint=note, keys=self._vkeys(tenant), attestation_keys=self._attesting
        )
        yield audit_service_pb2.ExportEventsResponse(header=header)
        while following < size:
            some = await self._proofs.export_part(tenant, following, size, MAX_PAGE)
            if not some.entries:
                raise inconsistent(tenant, size, f"entry {following} is missing")
            yield audit_service_pb2.ExportEventsResponse(
                entries=[
                    proof_pb2.ExportedEntry(
                        index=entry.index,
                        leaf=entry.draft.leaf,
                        disclosures=_disclosures(entry),
                        checkpoint=some.notes.get(entry.index + 1, ""),
                    )
                    for entry in some.entries
                ]
            )
            following = some.entries[-1].index + 1
        if await self._proofs.erased_since(tenant, size):
            # The erasure's entry, which explains missing values, lies beyond the checkpoint.
            raise Unavailable("Values were erased meanwhile; export again.")

    async def EraseEvents(
        self,
        request: audit_service_pb2.EraseEventsRequest,
        context: object,
    ) -> audit_service_pb2.EraseEventsResponse:
        """Erases on the caller's word, an operator's, and appends the event that says so."""
        caller, approval_id = identity.current(), request.approval_id
        tenant = caller.tenant

        def check(path: Sequence[Entry]) -> None:
            check_erasable(
                approval_id, _events(path), self._retention, before_retention=request.before_retention
            )

        def announce(values: int, cause: str) -> Draft:
            event = event_pb2.Event(actor=identity.actor_of(caller), cause_id=cause)
            event.time.GetCurrentTime()
            event.erased.approval_id = approval_id
            event.erased.reason.value = request.reason
            event.erased.values = values
            return seal(event_pb2.Entry(tenant=tenant, event=event))

        erasure = await self._store.erase(tenant, approval_id, check, announce)
        if erasure.is_new:
            self._stream.publish_entries([erasure.entry])
        return audit_service_pb2.EraseEventsResponse(entry=disclose(erasure.entry))

    async def SwitchAutomation(
        self,
        request: audit_service_pb2.SwitchAutomationRequest,
        context: object,
    ) -> audit_service_pb2.SwitchAutomationResponse:
        """Switches a scope on the caller's word, an operator's."""
        caller = identity.current()

        def announce(cause: str) -> Draft:
            event = event_pb2.Event(actor=identity.actor_of(caller), cause_id=cause)
            event.time.GetCurrentTime()
            event.automation_switched.off = request.off
            event.automation_switched.policy = request.policy
            event.automation_switched.model = request.model
            event.automation_switched.reason.value = request.reason
            return seal(event_pb2.Entry(tenant=caller.tenant, event=event))

        scope = (request.policy, request.model)
        switched = await self._automation.switch(caller.tenant, scope, announce, off=request.off)
        if switched is None:
            return audit_service_pb2.SwitchAutomationResponse()
        if switched.is_new:
            self._stream.publish_entries([switched.entry])
        return audit_service_pb2.SwitchAutomationResponse(entry=disclose(switched.entry))

    async def GetAutomation(
        self,
        request: audit_service_pb2.GetAutomationRequest,
        context: object,
    ) -> audit_service_pb2.GetAutomationResponse:
        """Returns the entries by which a scope is off."""
        off = await self._automation.off(identity.current().tenant)
        return audit_service_pb2.GetAutomationResponse(off=[disclose(entry) for entry in off])

    def _vkeys(self, tenant: str) -> list[str]:
        return [str(key) for key in self._keys.of(tenant)]

    async def _stored(self, append: Append) -> list[event_pb2.LogEntry]:
        if append.approval_id == TENANT_LEVEL:
            causes = list({draft.cause_id for draft in append.drafts})
            page = await self._store.entries_by_cause(append.tenant, causes)
            return [self._stream.disclosed(entry) for entry in page.entries]
        page = await self._store.entries_of_request(
            append.tenant, append.approval_id, from_number=append.expected_next, limit=MAX_PAGE
        )
        faults = await self._store.faults(append.tenant, append.approval_id)
        return [_with_fault(disclose(entry), faults.get(entry.draft.number, "")) for entry in page.entries]


def _with_fault(entry: event_pb2.LogEntry, fault: str) -> event_pb2.LogEntry:
    entry.fault = fault
    return entry


def _events(path: Iterable[Entry]) -> list[event_pb2.Event]:
    return [disclose(entry).entry.event for entry in path]


def _concerned(path: Iterable[event_pb2.Event]) -> set[str]:
    """Returns the requester and the people who were asked."""
    names = set[str]()
    for event in path:
        if event.HasField("received"):
            names.add(event.actor.name.value)
        elif event.HasField("asked"):
            names.add(event.asked.person.value)
    return names - {""}


def _disclosures(entry: Entry) -> list[proof_pb2.Disclosure]:
    return [
        proof_pb2.Disclosure(path=one.path, salt=one.salt, value=one.value) for one in entry.draft.disclosures
    ]


def to_append(tenant: str, request: audit_service_pb2.AppendEventsRequest) -> Append:
    """Returns the append of a call, sealed. Raises InvalidArgument as `seal` does."""
    drafts = []
    for position, event in enumerate(request.events):
        number = request.expected_next + position if request.approval_id else 0
        entry = event_pb2.Entry(tenant=tenant, approval_id=request.approval_id, number=number, event=event)
        drafts.append(seal(entry, field=f"events[{position}]"))
    return Append(tenant, request.approval_id, request.expected_next, tuple(drafts))


def appending_by(append: Callable[[Append], Awaitable[object]]) -> AppendForTenant:
    """Returns a function that appends an event of a tenant itself, without a call over gRPC.

    It raises what `append` raises.
    """

    async def append_for_tenant(tenant: str, event: event_pb2.Event) -> None:
        sealed = seal(event_pb2.Entry(tenant=tenant, event=event))
        await append(Append(tenant, TENANT_LEVEL, 0, (sealed,)))

    return append_for_tenant
