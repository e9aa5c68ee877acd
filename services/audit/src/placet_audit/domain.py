"""The rules of the log: where an append goes, what a page is. Pure: nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from placet_rpc.errors import FailedPrecondition, FieldViolation, InvalidArgument, OutOfRange

TENANT_LEVEL = ""
"""The approval id of events that belong to the tenant itself."""

MAX_APPEND_BYTES = 1 << 20
"""The most that one append's entries take as stored, so that its answer fits a gRPC message of 4 MiB."""

MAX_PAGE_BYTES = 2 << 20
"""The most that a page's entries take together, so that it fits a gRPC message of 4 MiB."""

MAX_RECEIPT_BYTES = 3 << 20
"""The most that a receipt's entries take with their proofs, so that it fits a gRPC message of 4 MiB."""

ERASURE_CAUSE = "erase/"
"""What the causes of erasures begin with, and no other's."""

MAX_ERASURES = 20
"""The most erasures of one request."""

_ERASURE = "erase/"

DEFAULT_PAGE = 100
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What opens one commitment: salt and value of the erasable field at `path` within the entry."""

    path: str
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An event as it will be hashed, before it has a place. `number` is 0 for events of the tenant."""

    number: int
    cause_id: str
    leaf: bytes
    disclosures: tuple[Disclosure, ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """One call's wish: these drafts, if the request's next number is still `expected_next`.

    `expected_next` is 0, and compared with nothing, exactly when `approval_id` is TENANT_LEVEL.
    """

    tenant: str
    approval_id: str
    expected_next: int
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A draft in its place: `index` counts the tenant's log from 0 without gaps."""

    tenant: str
    index: int
    approval_id: str
    draft: Draft

    @property
    def size(self) -> int:
        """Bytes that the entry takes in an answer, at most."""
        disclosed = sum(
            len(d.path) + len(d.salt) + len(d.value.encode()) for d in self.draft.disclosures
        )  # the path stands for the tags and lengths around the value
        return len(self.draft.leaf) + disclosed + 16


@dataclass(frozen=True, slots=True)
class Placed:
    """How an append was judged: `new` goes into the log.

    `complete` says that `new` is the whole answer; otherwise others (or the same call, earlier) hold
    some of its places, and the answer is what is stored there.
    """

    new: tuple[Entry, ...]
    complete: bool


@dataclass(slots=True)
class Heads:
    """The ends of the logs that a batch touches, read in the batch's transaction.

    `sizes` by tenant, `next_numbers` by tenant and request (absent: 1), and those `causes` (tenant and
    cause id) of the batch's tenant-level drafts that are stored already.
    """

    sizes: dict[str, int]
    next_numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    causes: set[tuple[str, str]] = field(default_factory=set)

    def place(self, append: Append) -> Placed:
        """Compare, and give the drafts their places if they may have them; the heads move on.

        Raises FailedPrecondition GAP if the append would leave a gap in the request's numbers.
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
        self.next_numbers[request] = next_number + len(append.drafts)
        return Placed(new=self._extend(append, append.drafts), complete=True)

    def _place_once_by_cause(self, append: Append) -> Placed:
        fresh = []
        for draft in append.drafts:
            cause = (append.tenant, draft.cause_id)
            if cause not in self.causes:
                self.causes.add(cause)
                fresh.append(draft)
        return Placed(new=self._extend(append, fresh), complete=len(fresh) == len(append.drafts))

    def _extend(self, append: Append, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
        size = self.sizes[append.tenant]
        self.sizes[append.tenant] = size + len(drafts)
        return tuple(
            Entry(append.tenant, index, append.approval_id, draft) for index, draft in enumerate(drafts, size)
        )


def place_all(heads: Heads, batch: Iterable[Append]) -> list[Placed | FailedPrecondition]:
    """Judge each append of a batch, in order. One that is refused takes no place and harms no other."""
    judged: list[Placed | FailedPrecondition] = []
    for append in batch:
        try:
            judged.append(heads.place(append))
        except FailedPrecondition as refusal:
            judged.append(refusal)
    return judged


def erasure_causes(approval_id: str) -> list[str]:
    """The causes of the events that say that a request's values were erased, in their order.

    An erasure erases all that is there; what comes later (a refused command's words) may need another one.
    """
    return [f"{_ERASURE}{approval_id}/{number}" for number in range(1, MAX_ERASURES + 1)]


def check_append(append: Append) -> None:
    """Raise InvalidArgument if an append could not be stored, or not be answered in one message."""
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


def check_reach(from_index: int, size: int) -> None:
    """Raise OutOfRange BEYOND_END if a log of `size` entries does not reach as far as `from_index`."""
    if from_index > size:
        raise OutOfRange(
            f"The log holds {size} entries; it does not reach index {from_index}.",
            reason="BEYOND_END",
            metadata={"from": str(from_index), "end": str(size)},
        )


class Sized(Protocol):
    """What takes room in an answer."""

    @property
    def size(self) -> int:
        """Bytes."""


Item = TypeVar("Item", bound=Sized)


def total_size(items: Iterable[Sized]) -> int:
    """Bytes that the items take together."""
    return sum(item.size for item in items)


def within_budget(items: Iterable[Item]) -> list[Item]:
    """The first of the items, as many as fit MAX_PAGE_BYTES, but one at least if there is any."""
    page: list[Item] = []
    total = 0
    for item in items:
        total += item.size
        if page and total > MAX_PAGE_BYTES:
            break
        page.append(item)
    return page


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in order; `more` if others follow."""

    entries: list[Entry]
    more: bool


def cut_page(found: Sequence[Entry], limit: int) -> Page:
    """The page that `found` begins with: at most `limit` entries, as many as fit one message."""
    entries = within_budget(found[:limit])
    return Page(entries, more=len(entries) < len(found))
