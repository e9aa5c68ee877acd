"""One tenant's log, verified from its first entry to its last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from placet_proof import Leaf, NotAttested, NotProven, VerifierKey, leaf_hash
from placet_proof.automation import Switches, automatic_decision
from placet_proof.grammar import (
    BEGIN,
    NotInGrammar,
    Path,
    check_of_tenant,
    check_settled,
    follow,
)
from placet_proof.vocabulary import AUTOMATION_SWITCHED, WITHHELD
from placet_verify.findings import Check, Findings, quoted
from placet_verify.rebuilt_tree import RebuiltTree
from placet_verify.rows import Record, Row, Source
from placet_verify.signatures import Signatures
from placet_verify.values import Values
from placet_verify.witness import OTHER_LOG, Seen

# Entries between two signs of progress.
STEP = 1000

# Names of rows in an export, which has no tables.
_IN_EXPORTS = {"disclosure": "value"}

_COLUMNS = ("tenant", "approval_id", "number", "cause_id")


@dataclass(frozen=True, slots=True)
class LogReport:
    """The result of verifying one log. `entries`: the number that belong there, `missing` ones included.
    `seen`: the largest size that a witness saw; 0: none. `last_seen`: when one last saw it, in POSIX seconds.
    `strange`: the first note that no known key signed, "" where there is none.
    `older`: how many of the findings say only that an export ends before what a witness saw.
    `also_signed`: unknown keys that signed beside known ones, each with the size of its first checkpoint."""

    tenant: str
    entries: int
    missing: int
    root: bytes
    checkpoints: int
    seen: int
    last_seen: int
    strange: str
    older: int
    also_signed: Mapping[str, int]


class LogVerification:
    """Verifies one log; what is wrong goes to `findings`. Keeps one entry at a time, a few numbers for each
    request, and the causes of the tenant's own events: about 55 MB for 100,000 requests."""

    def __init__(
        self,
        source: Source,
        tenant: str,
        keys: Sequence[VerifierKey],
        attesting: Sequence[VerifierKey],
        seen: Sequence[Seen],
        findings: Findings,
    ) -> None:
        """`keys`: those of this log; `attesting`: those of attestations."""
        self._source, self._tenant, self._findings = source, tenant, findings
        self._attesting = attesting
        self._size = 0
        self._missing_count = 0
        self._older = 0
        # Those that are missing one after the other, and not reported yet: the first, and how many.
        self._gap = (0, 0)
        self._tree = RebuiltTree()
        self._checkpoints = Signatures(tenant, keys, self._tree, findings)
        self._values = Values(tenant, findings)
        self._next_numbers: dict[str, int] = {}
        self._causes = set[str]()
        # None: a fault of the request was reported, and its path is not known from there on.
        self._paths: dict[str, Path | None] = {}
        self._unsettled: dict[str, int] = {}
        self._switches = Switches()
        self._seen = sorted((one for one in seen if one.size), key=lambda one: one.size)
        self._largest_seen = max((one.size for one in seen if one.signed), default=0)
        self._last_seen = max((one.last for one in seen if one.signed), default=0)

    def run(self) -> Iterator[int]:
        """Verifies; says now and then how many entries are behind it."""
        for record in self._source.records(self._tenant, self._findings):
            if record.index < self._size:
                self._strange(record)
                continue
            self._record(record)
            if self._size % STEP == 0:
                yield self._size
        self._report_missing()
        self._values.end()
        self._checkpoints.end(self._size)
        self._witnessed(end=True)
        self._report_unsettled()

    def report(self) -> LogReport:
        """The result, once the log was verified."""
        signed = self._checkpoints
        return LogReport(
            self._tenant,
            self._size,
            self._missing_count,
            self._tree.root,
            signed.count,
            self._largest_seen,
            self._last_seen,
            signed.strange,
            self._older,
            signed.also_signed,
        )

    def _record(self, record: Record) -> None:
        """All of an index that is not behind."""
        if record.entries and record.index > self._size:
            self._missing(record.index - 1)
            self._tree.tear()
            self._size = record.index
        if record.index > self._size or not (record.entries or record.roots):
            self._beyond(record)
            return
        leaf = self._entry(record) if record.entries else None
        if not record.entries:
            self._missing(record.index)
        self._grow(record, leaf)
        self._size += 1
        for note in record.notes[1:]:
            self._extra("checkpoint", note, checkpoint=self._size)
        for note in record.notes[:1]:
            self._checkpoints.checkpoint(self._size, note, reached=True)
        self._witnessed()

    def _entry(self, record: Record) -> bytes | None:
        """The entry's leaf, as far as there is one; it, its columns and values are checked."""
        for row in record.entries[1:]:
            self._add(Check.ENTRIES, f"it is there twice{_of_request(row)}", record.index)
        row = record.entries[0]
        raw = row[3]
        if not isinstance(raw, bytes):
            self._add(Check.TYPES, f"its leaf is not bytes: {quoted(raw)}", record.index)
            return None
        try:
            leaf = Leaf.parse(raw)
        except NotProven as error:
            self._add(Check.LEAF, f"its leaf is not an entry: {error}", record.index)
            return raw
        if self._source.has_tables:
            self._columns(record.index, leaf, row)
        elif leaf.tenant != self._tenant:
            self._add(Check.COLUMNS, f"it is of tenant {leaf.tenant!r:.60}", record.index)
        self._place(record.index, leaf, row[1])
        self._grammar(record.index, leaf, self._values.entry(record.index, leaf, record.values))
        return raw

    def _columns(self, index: int, leaf: Leaf, row: Row) -> None:
        stored, said = (self._tenant, *row[:3]), (leaf.tenant, leaf.approval_id, leaf.number, leaf.cause_id)
        if stored == said:
            return
        for column, beside, within in zip(_COLUMNS, stored, said, strict=True):
            if beside != within:
                what = f"{column} is {quoted(beside)} in its column, and {within!r:.60} in its leaf"
                self._add(Check.COLUMNS, what, index)

    def _place(self, index: int, leaf: Leaf, column: object) -> None:
        """True when it is the next of its request, or new to the tenant."""
        if not leaf.approval_id:
            if leaf.number:
                self._add(Check.NUMBERS, f"it has number {leaf.number:,}, and is of no request", index)
            if leaf.cause_id in self._causes:
                what = f"the tenant has another event of the same cause, {leaf.cause_id!r:.60}"
                self._add(Check.CAUSES, what, index)
            self._causes.add(leaf.cause_id)
            return
        expected = self._next_numbers.get(leaf.approval_id, 1)
        if leaf.number != expected:
            what = f"it has number {leaf.number:,} of request {leaf.approval_id}, where {expected:,} follows"
            self._add(Check.NUMBERS, what, index)
            self._paths[leaf.approval_id] = None
        # Where it is the leaf that was changed, the column still knows what follows.
        following = expected if column == expected else max(leaf.number, expected - 1)
        self._next_numbers[leaf.approval_id] = following + 1

    def _grammar(self, index: int, leaf: Leaf, values: Mapping[str, str]) -> None:
        """Follows the grammar. Reports the first fault of a request; what follows it has no meaning."""
        try:
            if not leaf.approval_id:
                check_of_tenant(leaf)
                if leaf.body == AUTOMATION_SWITCHED:
                    self._switches.apply(index, leaf)
                return
            path = self._paths.get(leaf.approval_id, BEGIN)
            if path is None:
                return
            self._automation(path, leaf)
            path = follow(path, leaf, values, self._attesting)
        except NotProven as error:
            check = Check.ATTESTATION if isinstance(error, NotAttested) else Check.GRAMMAR
            self._add(check, f"it may not stand here: {error}", index)
            self._paths[leaf.approval_id] = None
            self._unsettled.pop(leaf.approval_id, None)
            return
        self._unsettled.pop(leaf.approval_id, None)
        if not path.settled:
            self._unsettled[leaf.approval_id] = index
        self._paths[leaf.approval_id] = path

    def _automation(self, path: Path, leaf: Leaf) -> None:
        """Raises NotInGrammar for an automatic decision that was switched off, or a switch that was not."""
        decision = automatic_decision(path, leaf)
        by = None if decision is None else self._switches.off(decision.policy, decision.model)
        if by is not None:
            raise NotInGrammar(f"automatic decisions are switched off, by entry {by}")
        if leaf.body == WITHHELD and 2 in leaf.fields and leaf.field(2, 0) not in self._switches.ever_off:
            raise NotInGrammar("withheld names an entry that switched nothing off")

    def _report_unsettled(self) -> None:
        """Reports requests that end within a step, which is appended as one, unless the log was cut."""
        if self._findings.of(self._tenant):
            return
        for approval_id, index in self._unsettled.items():
            try:
                check_settled(self._paths[approval_id] or BEGIN)
            except NotProven as error:
                self._add(Check.GRAMMAR, f"its request ends here: {error}", index)

    def _grow(self, record: Record, raw: bytes | None) -> None:
        hashed = None if raw is None else leaf_hash(raw)
        if not self._source.has_tables:
            self._tree.append(hashed)
            return
        for roots in record.roots[1:]:
            self._extra("tree", roots, index=record.index)
        roots = record.roots[0] if record.roots else None
        if not isinstance(roots, bytes | None):
            self._add(Check.TYPES, f"its row of table tree is not bytes: {quoted(roots)}", record.index)
            roots = None
        if not self._tree.grow(hashed, roots):
            what = "what is stored of the tree beside it does not follow from it"
            self._add(Check.TREE, what if record.roots else "its row of table tree is missing", record.index)

    def _missing(self, last: int) -> None:
        """Entries from the next one on are."""
        first, count = self._gap
        if first + count != self._size:
            self._report_missing()
            first, count = self._size, 0
        more = last + 1 - self._size
        self._gap = (first, count + more)
        self._missing_count += more

    def _report_missing(self) -> None:
        first, count = self._gap
        if count:
            what = "it is missing" if count == 1 else "they are missing"
            self._findings.add(Check.ENTRIES, self._tenant, what, first=first, last=first + count - 1)
        self._gap = (0, 0)

    def _beyond(self, record: Record) -> None:
        """The stored parts of an index without an entry, as far as they were read."""
        for path, *_ in record.values:
            self._extra("disclosure", path, index=record.index)
        for roots in record.roots:
            self._extra("tree", roots, index=record.index)
        for note in record.notes:
            self._checkpoints.checkpoint(record.index + 1, note, reached=False)

    def _strange(self, record: Record) -> None:
        """The stored parts of an index that is behind, or none."""
        if record.index == -1 and not self._source.has_tables:
            # An export of an empty log has the checkpoint of an empty tree.
            self._checkpoints.checkpoint(0, record.notes.pop(), reached=True)
        for row in record.entries:
            what = "its index is below 0" if record.index < 0 else "it comes twice, or after a later one"
            self._add(Check.ENTRIES, f"{what}{_of_request(row)}", record.index)
        for path, *_ in record.values:
            self._extra("disclosure", path, index=record.index)
        for roots in record.roots:
            self._extra("tree", roots, index=record.index)
        for note in record.notes:
            self._extra("checkpoint", note, checkpoint=record.index + 1)

    def _witnessed(self, *, end: bool = False) -> None:
        """Compares with what witnesses saw at this size, and in the end with what they saw beyond it."""
        while self._seen and (end or self._seen[0].size <= self._size):
            seen = self._seen.pop(0)
            if seen.size > self._size:
                self._findings.add(Check.WITNESS, self._tenant, self._behind(seen), checkpoint=seen.size)
            elif self._tree.torn or self._tree.root != seen.root:
                what = f"the first {seen.size:,} entries are not those that a witness saw {seen.when}"
                if not seen.signed:
                    what = _other_log(seen)
                self._findings.add(
                    Check.WITNESS, self._tenant, what, first=0, last=seen.size - 1, checkpoint=seen.size
                )

    def _behind(self, seen: Seen) -> str:
        if not seen.signed:
            return _other_log(seen)
        if self._source.has_tables:
            return f"a witness saw {seen.size:,} entries {seen.when}, and there are {self._size:,}"
        # It may have been made before, or cut since: its own checkpoints allow both.
        self._older += 1
        return (
            f"this export is older than what the witness saw {seen.when}, {seen.size:,} entries, or was cut "
            f"off since: beyond its {self._size:,} nothing can be compared"
        )

    def _extra(
        self, table: str, found: object, *, index: int | None = None, checkpoint: int | None = None
    ) -> None:
        if self._source.has_tables:
            what = f"a row of table {table} has no place: {quoted(found)}"
        else:
            what = f"this {_IN_EXPORTS.get(table, table)} belongs to no entry: {quoted(found)}"
        self._findings.add(Check.EXTRA, self._tenant, what, first=index, checkpoint=checkpoint)

    def _add(self, check: Check, what: str, index: int) -> None:
        self._findings.add(check, self._tenant, what, first=index)


def _of_request(row: Row) -> str:
    """Of which one it says to be, in words; "" of none, as in exports, where nothing stands beside a leaf."""
    return f", as one of request {row[0]!r:.60}" if row[0] else ""


def _other_log(seen: Seen) -> str:
    return f"a witness saw {seen.size:,} entries {seen.when} in a checkpoint {OTHER_LOG}"
