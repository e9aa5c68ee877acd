"""Findings: faults of a log, with their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

# Of each kind; more are only counted, so that a log that is wrong throughout fits into memory.
KEPT = 1000


class Check(StrEnum):
    """The checks; the gravest first."""

    FILE = "file"
    """The storage can be read, and the database finds its own pages in order."""
    SCHEMA = "schema"
    """The database has the log's tables and the triggers that make them append-only, and nothing else."""
    WITNESS = "witness"
    """The log holds what a witness saw of it."""
    SIGNATURE = "signature"
    """Each checkpoint is signed for this log by a known key, and by nobody in another name."""
    ROOT = "root"
    """Each checkpoint's root is the one that its entries give."""
    COVERAGE = "coverage"
    """The newest checkpoint covers exactly the entries that are there."""
    SIZE = "size"
    """Each checkpoint stands where its size says."""
    ENTRIES = "entries"
    """Indexes count from 0 without gaps, each once."""
    TREE = "tree"
    """The tree's hashes stored beside each entry are those that the entry adds."""
    LEAF = "leaf"
    """Each leaf is an entry."""
    COLUMNS = "columns"
    """The columns beside a leaf agree with the leaf."""
    NUMBERS = "numbers"
    """Each request's events count from 1 without gaps."""
    CAUSES = "causes"
    """Each event of the tenant is there once."""
    GRAMMAR = "grammar"
    """The log's grammar allows each event where it stands."""
    ATTESTATION = "attestation"
    """Each command of a person is signed by the service that authenticated them, for this entry alone."""
    OPENING = "opening"
    """Each value is what its entry committed to."""
    MISSING = "missing"
    """Each value is there, or was erased by an entry that says so."""
    ERASED = "erased"
    """No value is there that was erased."""
    ERASURES = "erasures"
    """Each erasure erased as many values as it says."""
    TYPES = "types"
    """Each column holds its type."""
    EXTRA = "extra"
    """There is nothing else."""


_RANK = {check: rank for rank, check in enumerate(Check)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `first` to `last`: the entries that it is about, by index; `checkpoint`: the
    size of the one that it is about; `path`: the erasable field. None and "" where it is about none."""

    check: Check
    tenant: str
    what: str
    first: int | None = None
    last: int | None = None
    checkpoint: int | None = None
    path: str = ""

    @property
    def place(self) -> str:
        """Its place, in words."""
        parts = [self.tenant] if self.tenant else []
        if self.first is not None and self.last in (None, self.first):
            parts.append(f"entry {self.first:,}")
        elif self.first is not None:
            parts.append(f"entries {self.first:,} to {self.last:,}")
        if self.checkpoint is not None:
            parts.append(f"checkpoint {self.checkpoint:,}")
        return ", ".join(parts + [self.path] * bool(self.path))

    def place_with(self, others: Sequence[Finding]) -> str:
        """Its place and those of equal findings about later checkpoints, in words."""
        last = others[-1].checkpoint if others else None
        return self.place if last is None else f"{self.place} and {len(others):,} more up to {last:,}"

    def names(self, index: int) -> bool:
        """True when it is about this entry."""
        return self.first is not None and self.first <= index <= (
            self.first if self.last is None else self.last
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        found: dict[str, object] = {"check": self.check.value, "tenant": self.tenant}
        if self.first is not None:
            found |= {"firstEntry": self.first, "lastEntry": self.first if self.last is None else self.last}
        if self.checkpoint is not None:
            found["checkpoint"] = self.checkpoint
        return found | ({"path": self.path} if self.path else {}) | {"what": self.what}


class Findings:
    """All that is wrong. Iterates over what was kept, the worst first."""

    def __init__(self, without: Collection[Check] = ()) -> None:
        """`without`: what is not to be looked at, for tests that show what each check is for."""
        self._without = frozenset(without)
        self._kept: dict[Check, list[Finding]] = {check: [] for check in Check}
        self._counts = Counter[str]()

    def add(
        self,
        check: Check,
        tenant: str,
        what: str,
        *,
        first: int | None = None,
        last: int | None = None,
        checkpoint: int | None = None,
        path: str = "",
    ) -> None:
        """See Finding."""
        if check in self._without:
            return
        self._counts[tenant] += 1
        if len(self._kept[check]) < KEPT:
            self._kept[check].append(Finding(check, tenant, what, first, last, checkpoint, path))

    def __iter__(self) -> Iterator[Finding]:
        for check in sorted(Check, key=_RANK.__getitem__):
            yield from sorted(self._kept[check], key=_order)

    def together(self) -> Iterator[list[Finding]]:
        """As `__iter__`, but what is said of several checkpoints, one after the other, together."""
        # Entries are reported one by one, for each that is wrong is to be named.
        for _, same in groupby(self, key=attrgetter("check", "tenant", "what", "path", "first")):
            yield list(same)

    def __len__(self) -> int:
        return self._counts.total()

    def unreadable(self, tenant: str) -> bool:
        """True when some of this tenant's log could not be read."""
        return any(one.tenant == tenant for one in self._kept[Check.FILE])

    def of(self, tenant: str) -> int:
        """The number of findings about this tenant's log."""
        return self._counts[tenant]


def quoted(stored: object) -> str:
    """A column's value, in words for database administrators."""
    return "NULL" if stored is None else f"{stored!r:.60}"


def _order(finding: Finding) -> tuple[str, int, int]:
    return finding.tenant, finding.first or 0, finding.checkpoint or 0
