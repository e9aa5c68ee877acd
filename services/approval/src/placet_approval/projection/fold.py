"""Fold of a tenant's log, entry by entry: the change of each, and its request's state after it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.present import present
from placet_approval.store.decision_stats import Decision
from placet_approval.store.erasure_store import erased_id, redact
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import ProjectedApproval, ViewStore
from placet_domain.events import LogEntry
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState
from placet_mapping import from_proto
from placet_proof import Leaf, NotProven, VerifierKey
from placet_proof.grammar import BEGIN, Path, follow

# Number of states cached for the next event of the same request.
STATES = 20_000
# Number of requests stored by this process whose first event is still expected.
EXPECTED = 1_000

BeforeFold = Callable[[ApprovalState, LogEntry], None]


@dataclass(frozen=True)
class AppliedEvent:
    """An entry, and the request after it."""

    stored: event_pb2.LogEntry
    projected: ProjectedApproval
    # Of the request after the entry; later entries change it.
    state: ApprovalState

    @property
    def index(self) -> int:
        """The entry's index in the log."""
        return self.stored.index


@dataclass(frozen=True)
class Change:
    """An entry's change. `awaited`: people who are awaited since it, or not any more.

    `erases`: people asked before it are erased.
    """

    applied: AppliedEvent
    awaited: Mapping[str, bool] = field(default_factory=dict)
    erases: bool = False


@dataclass
class FoldResult:
    """The changes of some entries, and by index the reasons why others are unusable."""

    changes: list[Change] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


# The erasable values that the log's grammar reads.
NAMES = ("event.actor.name", "event.asked.person", "event.decided.approver")


@dataclass
class RequestFold:
    """A request's state, and its path by the log's grammar."""

    # Keys of attestations.
    keys: Sequence[VerifierKey]
    state: ApprovalState = field(default_factory=ApprovalState)
    path: Path = BEGIN

    def fold(self, stored: event_pb2.LogEntry, before: BeforeFold | None = None) -> str:
        """Folds an entry; returns its fault if it is unusable, else "". `before`: see `LogFold.apply`."""
        state = self.state
        stored.fault = self._fault(stored)
        try:
            entry = from_proto(stored, LogEntry)
            if before is not None and not entry.fault:
                before(state, entry)
            state.fold(entry)
        except Exception as error:  # noqa: BLE001  # entries come from outside; an unusable one affects nothing else
            stored.fault = f"{type(error).__name__}: {error}"
            state.fault = state.fault or f"entry {stored.index}: {stored.fault}"
            if stored.entry.number == state.last_number + 1:
                state.last_number, state.log_index = stored.entry.number, stored.index
        return stored.fault

    def _fault(self, stored: event_pb2.LogEntry) -> str:
        """The rule of the log's grammar that an entry breaks; "" if it fits."""
        entry = event_pb2.Entry()
        entry.CopyFrom(stored.entry)
        redact(entry)
        event = stored.entry.event
        found = (event.actor.name.value, event.asked.person.value, event.decided.approver.value)
        values = {path: value for path, value in zip(NAMES, found, strict=True) if value}
        try:
            self.path = follow(self.path, Leaf.parse(entry.SerializeToString()), values, self.keys)
        except NotProven as error:
            return str(error)
        return ""


def fold_path(path: Iterable[event_pb2.LogEntry], keys: Sequence[VerifierKey]) -> ApprovalState | None:
    """A request's state after these entries, complete from its first; None without any.

    Unusable entries change nothing. `keys`: those of attestations.
    """
    state = _folded(path, keys).state
    return state if state.received is not None else None


def _folded(path: Iterable[event_pb2.LogEntry], keys: Sequence[VerifierKey]) -> RequestFold:
    folded = RequestFold(keys)
    for stored in path:
        folded.fold(stored)
    return folded


def project_state(
    state: ApprovalState,
    labels: Mapping[str, str],
    policy: Policy | None,
    erasure: event_pb2.LogEntry | None = None,
) -> ProjectedApproval:
    """A request in this state, as the view holds it. `policy` and `erasure`: see `present`."""
    return ProjectedApproval(present(state, labels, policy, erasure), state.awaited, _decision(state))


def _decision(state: ApprovalState) -> Decision | None:
    if state.decided is None or state.decide_time is None or state.create_time is None:
        return None
    return Decision(
        decide_time=state.decide_time,
        waited=state.decide_time - state.create_time,
        source=state.decided.source,
        # Erased people were asked as well.
        person_asked=any(tier.assignments for tier in state.tiers),
        fell_back=state.fell_back is not None,
    )


@dataclass(frozen=True)
class _KnownRequest:
    """A request's state and last erasure, with its labels and policy, which are not in the log."""

    folded: RequestFold
    labels: Mapping[str, str]
    policy: Policy | None = None
    erasure: event_pb2.LogEntry | None = None

    @property
    def state(self) -> ApprovalState:
        return self.folded.state

    @property
    def projected(self) -> ProjectedApproval:
        return project_state(self.state, self.labels, self.policy, self.erasure)


class LogFold:
    """Folds one tenant's entries in the order of the log, from any index on."""

    def __init__(
        self, tenant: str, log: AuditLog, views: ViewStore, requests: RequestStore, policies: PolicyStore
    ) -> None:
        self._tenant = tenant
        self._policies = policies
        self._log = log
        self._views = views
        self._requests = requests
        self._known: OrderedDict[str, _KnownRequest] = OrderedDict()
        self._expected: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """Caches the labels of a request whose first event is expected; others are read from the store."""
        self._expected[approval_id] = labels
        if len(self._expected) > EXPECTED:
            self._expected.popitem(last=False)

    def forget(self) -> None:
        """Drops the cached states, to continue at any index."""
        self._known.clear()

    async def apply(
        self, entries: Sequence[event_pb2.LogEntry], before: BeforeFold | None = None
    ) -> FoldResult:
        """Folds entries. `before` is called with each and the state before it.

        Of the tenant's own entries, only erasures change a request.
        """
        of_requests = {stored.entry.approval_id for stored in entries if stored.entry.approval_id}
        labels = await self._labels(of_requests - self._known.keys())
        result = FoldResult()
        for stored in entries:
            if stored.entry.approval_id:
                await self._fold(stored, labels, before, result)
            elif erased_id(stored):
                await self._erase(stored, result)
        return result

    async def _labels(self, unknown: Set[str]) -> dict[str, Mapping[str, str]]:
        expected = {one: self._expected.pop(one) for one in unknown & self._expected.keys()}
        return {**expected, **await self._requests.labels(self._tenant, sorted(unknown - expected.keys()))}

    async def _fold(
        self,
        stored: event_pb2.LogEntry,
        labels: Mapping[str, Mapping[str, str]],
        before: BeforeFold | None,
        into: FoldResult,
    ) -> None:
        known = await self._known_before(stored, labels)
        state, awaited = known.state, known.state.awaited
        unusable = known.folded.fold(stored, before)
        if unusable:
            into.unusable[stored.index] = unusable
        if state.received is None:
            # Without `received` there is no request to project.
            return
        if stored.entry.number == 1:
            known = replace(known, policy=await self._policy_of(state))
        self._keep(stored.entry.approval_id, known)
        changed = {one: waits for one, waits in state.awaited.items() if awaited.get(one) is not waits}
        into.changes.append(Change(AppliedEvent(stored, known.projected, state), changed))

    async def _erase(self, erasure: event_pb2.LogEntry, into: FoldResult) -> None:
        """Projects the request without its erased values."""
        stored = await self._log.events_of(self._tenant, erased_id(erasure))
        path = [one for one in stored if one.index < erasure.index]
        for one in path:
            redact(one)
        folded = _folded(path, self._log.keys)
        if folded.state.received is not None:
            known = _KnownRequest(folded, {}, await self._policy_of(folded.state), erasure)
            self._keep(erased_id(erasure), known)
            into.changes.append(Change(AppliedEvent(erasure, known.projected, folded.state), erases=True))

    async def _known_before(
        self, stored: event_pb2.LogEntry, labels: Mapping[str, Mapping[str, str]]
    ) -> _KnownRequest:
        """A request's state just before an entry of its own."""
        entry = stored.entry
        known = self._known.get(entry.approval_id)
        if known is not None and known.state.last_number == entry.number - 1:
            return known
        known_labels = known.labels if known is not None else labels.get(entry.approval_id, {})
        if entry.number == 1:
            return _KnownRequest(RequestFold(self._log.keys), known_labels)
        return await self._read_before(stored, known_labels)

    async def _read_before(self, stored: event_pb2.LogEntry, labels: Mapping[str, str]) -> _KnownRequest:
        entry = stored.entry
        path, erasure = await self._views.before(self._tenant, entry.approval_id, stored.index)
        if len(path) < entry.number - 1:
            path = await self._log.events_of(self._tenant, entry.approval_id)
        folded = _folded(path[: entry.number - 1], self._log.keys)
        policy = await self._policy_of(folded.state)
        return _KnownRequest(folded, labels if erasure is None else {}, policy, erasure)

    async def _policy_of(self, state: ApprovalState) -> Policy | None:
        """The request's policy; None if this database does not hold it."""
        digest = bytes.fromhex(state.received.policy_digest) if state.received is not None else b""
        stored = await self._policies.by_digest(digest)
        return None if stored is None else stored.policy

    def _keep(self, approval_id: str, known: _KnownRequest) -> None:
        if known.state.closed is not None and known.erasure is None:
            # Few events follow, and it can be read again; after an erasure, perhaps not from this view yet.
            self._known.pop(approval_id, None)
            return
        self._known[approval_id] = known
        self._known.move_to_end(approval_id)
        if len(self._known) > STATES:
            self._known.popitem(last=False)
