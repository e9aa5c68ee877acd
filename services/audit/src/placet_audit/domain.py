"""Rules of the log: the place of an append, the limits of answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from placet_audit.automation import AutomationGate, Withheld
from placet_proof import Leaf, NotAttested, NotProven, VerifierKey
from placet_proof.automation import AutomaticDecision, automatic_decision
from placet_proof.grammar import (
    BEGIN,
    Path,
    check_of_tenant,
    check_settled,
    follow,
)
from placet_proof.vocabulary import AUTOMATION_SWITCHED
from placet_rpc.errors import FailedPrecondition, FieldViolation, InvalidArgument

RequestKey = tuple[str, str]
"""Tenant and approval id."""

TENANT_LEVEL = ""
"""Approval id of events that belong to the tenant itself."""

MAX_APPEND_BYTES = 1 << 20
"""Limit of the entries of one append as stored, so that the answer fits a gRPC message of 4 MiB."""

MAX_PAGE_BYTES = 2 << 20
"""Limit of the entries of one page, so that it fits a gRPC message of 4 MiB."""

MAX_RECEIPT_BYTES = 3 << 20
"""Limit of a receipt's entries with their proofs, so that it fits a gRPC message of 4 MiB."""

ERASURE_CAUSE = "erase/"
"""Prefix of the cause ids of erasures, and of no others."""

MAX_ERASURES = 20
"""Limit of the erasures of one request."""

DEFAULT_PAGE = 100
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Opening of one commitment: salt and value of the erasable value at `path` within the entry."""

    path: str
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Draft:
    """Sealed event that has no index yet. `number` is 0 for events of the tenant."""

    number: int
    cause_id: str
    leaf: bytes
    disclosures: tuple[Disclosure, ...] = ()

    @property
    def values(self) -> dict[str, str]:
        """The erasable values by path."""
        return {one.path: one.value for one in self.disclosures}


@dataclass(frozen=True, slots=True)
class Append:
    """Request to append these drafts, if the next number of the approval is still `expected_next`.

    `expected_next` is 0, and compared with nothing, exactly when `approval_id` is TENANT_LEVEL.
    """

    tenant: str
    approval_id: str
    expected_next: int
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Draft with its index in the tenant's log, from 0 without gaps."""

    tenant: str
    index: int
    approval_id: str
    draft: Draft

    @property
    def size(self) -> int:
        """Upper bound of the entry's bytes in an answer."""
        # The length of the path covers the tags and lengths around the value.
        disclosed = sum(len(d.path) + len(d.salt) + len(d.value.encode()) for d in self.draft.disclosures)
        return len(self.draft.leaf) + disclosed + 16


@dataclass(frozen=True, slots=True)
class Placed:
    """Result of an append: the entries that are `new` in the log.

    `complete`: `new` is the whole answer. Otherwise another append, or an earlier attempt of this one, holds
    some of its places, and the answer is what is stored there. `withheld`: the append holds an automatic
    decision that is not allowed, and nothing was placed.
    """

    new: tuple[Entry, ...]
    complete: bool
    withheld: Withheld | None = None


@dataclass(slots=True)
class Heads:
    """Heads of the logs that a batch appends to, read in its transaction.

    `attesting`: keys of attestations. `sizes` by tenant, `next_numbers` and `paths` by tenant and request
    (absent: 1, and no event), and those `causes` (tenant and cause id) of the batch's drafts of the tenant
    itself that are stored already. `gate` judges automatic decisions.
    """

    sizes: dict[str, int]
    attesting: Sequence[VerifierKey]
    next_numbers: dict[RequestKey, int] = field(default_factory=dict)
    paths: dict[RequestKey, Path] = field(default_factory=dict)
    causes: set[tuple[str, str]] = field(default_factory=set)
    gate: AutomationGate = field(default_factory=AutomationGate)

    def place(self, append: Append) -> Placed:
        """Compares, assigns indexes to the drafts that are appended, and advances the heads.

        Raises FailedPrecondition GAP if the append would leave a gap in the request's numbers, and
        NOT_IN_GRAMMAR if its events do not fit the request's path, NOT_ATTESTED if one is a command's and has
        no valid attestation.
        """
        if append.approval_id == TENANT_LEVEL:
            return self._place_once_by_cause(append)
        request = (append.tenant, append.approval_id)
        next_number = self.next_numbers.get(request, 1)
        if append.expected_next > next_number:
            raise FailedPrecondition(
                f"The events would leave a gap: the request's next event is number {next_number}, "
                f"not {append.expected_next}.",
                reason="GAP",
                metadata={"expected_next": str(append.expected_next), "next": str(next_number)},
            )
        if append.expected_next < next_number:
            return Placed(new=(), complete=False)
        path, decision = _followed(self.paths.get(request, BEGIN), append.drafts, self.attesting)
        if decision is not None and (withheld := self.gate.judge(append.tenant, decision)):
            return Placed(new=(), complete=True, withheld=withheld)
        self.paths[request] = path
        self.next_numbers[request] = next_number + len(append.drafts)
        return Placed(new=self._extend(append, append.drafts), complete=True)

    def _place_once_by_cause(self, append: Append) -> Placed:
        fresh = []
        for draft in append.drafts:
            cause = (append.tenant, draft.cause_id)
            if cause not in self.causes:
                _check_of_tenant(draft)
                self.causes.add(cause)
                fresh.append(draft)
        for entry in (placed := self._extend(append, fresh)):
            leaf = Leaf.parse(entry.draft.leaf)
            if leaf.body == AUTOMATION_SWITCHED:
                self.gate.switches(append.tenant).apply(entry.index, leaf)
        return Placed(new=placed, complete=len(fresh) == len(append.drafts))

    def _extend(self, append: Append, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        size = self.sizes[append.tenant]
        self.sizes[append.tenant] = size + len(drafts)
        return tuple(
            Entry(append.tenant, index, append.approval_id, draft) for index, draft in enumerate(drafts, size)
        )


def _followed(
    path: Path, drafts: Iterable[Draft], keys: Sequence[VerifierKey]
) -> tuple[Path, AutomaticDecision | None]:
    """Returns the path with these events, and the automatic decision among them.

    Raises FailedPrecondition NOT_IN_GRAMMAR, NOT_ATTESTED.
    """
    last: Draft | None = None
    decision: AutomaticDecision | None = None
    try:
        for last in drafts:
            leaf = Leaf.parse(last.leaf)
            decision = decision or automatic_decision(path, leaf)
            path = follow(path, leaf, last.values, keys)
        check_settled(path)
    except NotProven as error:
        raise _not_in_grammar(error, last) from error
    return path, decision


def _check_of_tenant(draft: Draft) -> None:
    try:
        check_of_tenant(Leaf.parse(draft.leaf))
    except NotProven as error:
        raise _not_in_grammar(error, draft) from error


def _not_in_grammar(error: NotProven, draft: Draft | None) -> FailedPrecondition:
    number = 0 if draft is None else draft.number
    return FailedPrecondition(
        f"The log's grammar does not allow these events: event {number}: {error}.",
        reason="NOT_ATTESTED" if isinstance(error, NotAttested) else "NOT_IN_GRAMMAR",
        metadata={"number": str(number)},
    )


def walk(entries: Iterable[Entry], keys: Sequence[VerifierKey]) -> tuple[Path, Mapping[int, str]]:
    """Returns the path of a request's stored entries from the first on, and the faults of those that do not
    fit, by number. They have no effect on the path."""
    path, faults = BEGIN, dict[int, str]()
    for one in entries:
        try:
            path = follow(path, Leaf.parse(one.draft.leaf), one.draft.values, keys)
        except NotProven as error:
            faults[one.draft.number] = str(error)
    return path, faults


def place_all(heads: Heads, batch: Iterable[Append]) -> list[Placed | FailedPrecondition]:
    """Places each append of a batch, in order. A refused one takes no index and affects no other."""
    results: list[Placed | FailedPrecondition] = []
    for append in batch:
        try:
            results.append(heads.place(append))
        except FailedPrecondition as refusal:
            results.append(refusal)
    return results


def erasure_causes(approval_id: str) -> list[str]:
    """Returns the cause ids of a request's erasures, in their order.

    An erasure deletes all values that exist. Later ones, of a refused command, may need another erasure.
    """
    return [f"{ERASURE_CAUSE}{approval_id}/{number}" for number in range(1, MAX_ERASURES + 1)]


def check_append(append: Append) -> None:
    """Raises InvalidArgument for an append that cannot be stored, or whose answer would be too large."""
    violations = [
        FieldViolation(f"events[{position}].cause_id", "must not contain the character NUL")
        for position, draft in enumerate(append.drafts)
        if "\0" in draft.cause_id
    ]
    violations += [
        FieldViolation(f"events[{position}].cause_id", f"must not begin with {ERASURE_CAUSE!r}")
        for position, draft in enumerate(append.drafts)
        if draft.cause_id.startswith(ERASURE_CAUSE)
    ]
    size = total_size(Entry(append.tenant, 0, append.approval_id, draft) for draft in append.drafts)
    if size > MAX_APPEND_BYTES:
        violations.append(
            FieldViolation("events", f"take {size} bytes as stored; the most is {MAX_APPEND_BYTES}")
        )
    if violations:
        raise InvalidArgument("The events cannot be stored.", violations=violations)


def total_size(entries: Iterable[Entry]) -> int:
    """Returns the bytes of all entries."""
    return sum(entry.size for entry in entries)


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in order; `more` if others follow."""

    entries: list[Entry]
    more: bool


def cut_page(found: Sequence[Entry], limit: int) -> Page:
    """Returns the first page of `found`: at most `limit` entries, and as many as fit one message."""
    entries: list[Entry] = []
    total = 0
    for entry in found[:limit]:
        total += entry.size
        if entries and total > MAX_PAGE_BYTES:
            break
        entries.append(entry)
    return Page(entries, more=len(entries) < len(found))
