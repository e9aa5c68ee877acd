"""The fold of a tenant's log, entry by entry: what each one did, and how its request stands after it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.present import present
from placet_approval.store.decision_stats import Decision
from placet_approval.store.erasure import erased_id, redact
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import Shown, ViewStore
from placet_domain.events import LogEntry
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState
from placet_mapping import from_proto

# Folded states kept for the next event of the same request.
STATES = 20_000
# Requests that were just stored here, and whose first event has not come yet.
EXPECTED = 1_000

BeforeFold = Callable[[ApprovalState, LogEntry], None]


@dataclass(frozen=True)
class AppliedEvent:
    """An entry, and the request after it."""

    stored: event_pb2.LogEntry
    shown: Shown

    @property
    def index(self) -> int:
        """Where the entry stands in the log."""
        return self.stored.index


@dataclass(frozen=True)
class Change:
    """What an entry did, and whom it asked for the first time. `erases`: who was asked before is erased."""

    applied: AppliedEvent
    newly_asked: tuple[str, ...] = ()
    erases: bool = False


@dataclass
class Folded:
    """What some entries did, and why some of them did nothing, by their index."""

    changes: list[Change] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


def folded(path: Iterable[event_pb2.LogEntry]) -> ApprovalState | None:
    """A request's state after these entries, all from its first on; None when there are none. Entries that
    cannot be used change nothing."""
    state = ApprovalState()
    for stored in path:
        fold_entry(state, stored)
    return state if state.received is not None else None


def fold_entry(state: ApprovalState, stored: event_pb2.LogEntry, before: BeforeFold | None = None) -> str:
    """Folds an entry, whatever it holds; why it could not be used, if so. `before`: see `take`."""
    try:
        entry = from_proto(stored, LogEntry)
        if before is not None:
            before(state, entry)
        state.fold(entry)
    except Exception as error:  # noqa: BLE001  # an entry comes from outside; no more is lost than it alone
        if stored.entry.number == state.last_number + 1:
            state.last_number, state.log_index = stored.entry.number, stored.index
        return f"{type(error).__name__}: {error}"
    return ""


def shown_as(
    state: ApprovalState,
    labels: Mapping[str, str],
    policy: Policy | None,
    erasure: event_pb2.LogEntry | None = None,
) -> Shown:
    """A request in this state, as the view has it. `policy` and `erasure`: see `present`."""
    return Shown(present(state, labels, policy, erasure), frozenset(state.asked), _decision(state))


def _decision(state: ApprovalState) -> Decision | None:
    if state.decided is None or state.decide_time is None or state.create_time is None:
        return None
    return Decision(
        decide_time=state.decide_time,
        waited=state.decide_time - state.create_time,
        source=state.decided.source,
        # Erased people were asked too.
        person_asked=any(tier.assignments for tier in state.tiers),
        fell_back=state.fell_back is not None,
    )


@dataclass(frozen=True)
class _Known:
    """A request's state; its labels and its policy's body, which are not in the log; and its last erasure."""

    state: ApprovalState
    labels: Mapping[str, str]
    policy: Policy | None = None
    erasure: event_pb2.LogEntry | None = None

    @property
    def shown(self) -> Shown:
        return shown_as(self.state, self.labels, self.policy, self.erasure)


class LogFold:
    """Folds one tenant's entries in the order of the log, from any place in it."""

    def __init__(
        self, tenant: str, log: AuditLog, views: ViewStore, requests: RequestStore, policies: PolicyStore
    ) -> None:
        self._tenant = tenant
        self._policies = policies
        self._log = log
        self._views = views
        self._requests = requests
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._expected: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """Tells the labels of a request whose first event will come; those of others are read."""
        self._expected[approval_id] = labels
        if len(self._expected) > EXPECTED:
            self._expected.popitem(last=False)

    def forget(self) -> None:
        """Begins anew, perhaps elsewhere in the log."""
        self._known.clear()

    async def take(self, entries: Sequence[event_pb2.LogEntry], before: BeforeFold | None = None) -> Folded:
        """What these entries did. `before` sees each with the state that it meets. Entries of the tenant
        itself change no request, and are left out; but for erasures."""
        of_requests = {stored.entry.approval_id for stored in entries if stored.entry.approval_id}
        labels = await self._labels(of_requests - self._known.keys())
        folded_now = Folded()
        for stored in entries:
            if stored.entry.approval_id:
                await self._fold(stored, labels, before, folded_now)
            elif erased_id(stored):
                await self._erase(stored, folded_now)
        return folded_now

    async def _labels(self, unknown: Set[str]) -> dict[str, Mapping[str, str]]:
        expected = {one: self._expected.pop(one) for one in unknown & self._expected.keys()}
        return {**expected, **await self._requests.labels(self._tenant, sorted(unknown - expected.keys()))}

    async def _fold(
        self,
        stored: event_pb2.LogEntry,
        labels: Mapping[str, Mapping[str, str]],
        before: BeforeFold | None,
        into: Folded,
    ) -> None:
        known = await self._known_before(stored, labels)
        state, asked = known.state, set(known.state.asked)
        unusable = fold_entry(state, stored, before)
        if unusable:
            into.unusable[stored.index] = unusable
        if state.received is None:
            # There is no request to show.
            return
        if stored.entry.number == 1:
            known = replace(known, policy=await self._policy_of(state))
        self._keep(stored.entry.approval_id, known)
        newly_asked = tuple(person for person in state.asked if person not in asked)
        into.changes.append(Change(AppliedEvent(stored, known.shown), newly_asked))

    async def _erase(self, erasure: event_pb2.LogEntry, into: Folded) -> None:
        """The request without its words, as the log has had it since."""
        stored = await self._log.events_of(self._tenant, erased_id(erasure))
        path = [one for one in stored if one.index < erasure.index]
        for one in path:
            redact(one)
        state = folded(path)
        if state is not None:
            known = _Known(state, {}, await self._policy_of(state), erasure)
            self._keep(erased_id(erasure), known)
            into.changes.append(Change(AppliedEvent(erasure, known.shown), erases=True))

    async def _known_before(
        self, stored: event_pb2.LogEntry, labels: Mapping[str, Mapping[str, str]]
    ) -> _Known:
        """A request just before this event of its own."""
        entry = stored.entry
        known = self._known.get(entry.approval_id)
        if known is not None and known.state.last_number == entry.number - 1:
            return known
        its_labels = known.labels if known is not None else labels.get(entry.approval_id, {})
        if entry.number == 1:
            return _Known(ApprovalState(), its_labels)
        return await self._read_before(stored, its_labels)

    async def _read_before(self, stored: event_pb2.LogEntry, labels: Mapping[str, str]) -> _Known:
        entry = stored.entry
        path, erasure = await self._views.before(self._tenant, entry.approval_id, stored.index)
        if len(path) < entry.number - 1:
            path = await self._log.events_of(self._tenant, entry.approval_id)
        state = folded(path[: entry.number - 1]) or ApprovalState()
        policy = await self._policy_of(state)
        return _Known(state, labels if erasure is None else {}, policy, erasure)

    async def _policy_of(self, state: ApprovalState) -> Policy | None:
        """The request's policy; None where this database does not have it any more."""
        digest = bytes.fromhex(state.received.policy_digest) if state.received is not None else b""
        stored = await self._policies.by_digest(digest)
        return None if stored is None else stored.policy

    def _keep(self, approval_id: str, known: _Known) -> None:
        if known.state.closed is not None and known.erasure is None:
            # Little follows, and it can be read again; after an erasure, perhaps not from this view yet.
            self._known.pop(approval_id, None)
            return
        self._known[approval_id] = known
        self._known.move_to_end(approval_id)
        if len(self._known) > STATES:
            self._known.popitem(last=False)
