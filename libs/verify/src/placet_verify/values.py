"""Verifies that values match their commitments, and that none is missing without an erasure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from placet_proof import ERASED, Leaf, NotProven
from placet_verify.findings import Check, Findings
from placet_verify.rows import Row


@dataclass(slots=True)
class _Values:
    """Of one request, since its last erasure: how many values its entries committed to, are there, are
    missing; and where the first of these is."""

    committed: int = 0
    there: int = 0
    first_there: int = 0
    missing: int = 0
    first_missing: tuple[int, str] = (0, "")


class Values:
    """The values of one tenant's log, entry by entry."""

    def __init__(self, tenant: str, findings: Findings) -> None:
        self._tenant, self._findings = tenant, findings
        self._requests: dict[str, _Values] = {}

    def entry(self, index: int, leaf: Leaf, rows: Sequence[Row]) -> Mapping[str, str]:
        """Checks the next entry with what is stored of its values; returns those that it committed to."""
        opened, known = set[object](), dict[str, str]()
        for path, salt, value in rows:
            if path in opened:
                self._add(Check.EXTRA, "this value is there twice", index, path)
            opened.add(path)
            known |= self._open(index, leaf, path, salt, value)
        missing = [path for path in leaf.commitments if path not in opened]
        if leaf.approval_id:
            self._count(index, leaf, len(opened), missing)
            return known
        if leaf.body == ERASED:
            self._erased(index, leaf)
        for path in missing:
            self._add(
                Check.MISSING, "this value is missing, and nothing of the tenant's own is erased", index, path
            )
        return known

    def end(self) -> None:
        """There is no further entry."""
        for approval_id, values in self._requests.items():
            if values.missing:
                index, path = values.first_missing
                others = values.missing - 1
                more = f", and so are {others:,} more of request {approval_id}" if others else ""
                what = f"this value is missing{more}; no erasure explains that"
                self._add(Check.MISSING, what, index, path)

    def _open(self, index: int, leaf: Leaf, path: object, salt: object, value: object) -> dict[str, str]:
        if not (isinstance(path, str) and isinstance(salt, bytes) and isinstance(value, bytes)):
            self._add(Check.TYPES, f"a value's columns are not text and bytes: {path!r:.60}", index, path)
            return {}
        try:
            leaf.opened(path, salt, value.decode())
            return {path: value.decode()}
        except NotProven as error:
            self._add(Check.OPENING, f"this value was changed: {error}", index, path)
        except UnicodeDecodeError:
            self._add(Check.OPENING, "this value was changed: it is not UTF-8", index, path)
        return {}

    def _count(self, index: int, leaf: Leaf, there: int, missing: list[str]) -> None:
        values = self._requests.setdefault(leaf.approval_id, _Values())
        if there and not values.there:
            values.first_there = index
        if missing and not values.missing:
            values.first_missing = index, missing[0]
        values.committed += len(leaf.commitments)
        values.there += there
        values.missing += len(missing)

    def _erased(self, index: int, leaf: Leaf) -> None:
        values = self._requests.pop(leaf.erases, None)
        if values is None:
            what = f"it erases values of request {leaf.erases}, which the log does not know"
            self._add(Check.ERASURES, what, index)
            return
        if values.committed != leaf.erased_values:
            what = (
                f"it says that it erased {leaf.erased_values:,} values, where there were {values.committed:,}"
            )
            self._add(Check.ERASURES, what, index)
        if values.there:
            what = f"{values.there:,} values are there from here on that entry {index:,} erased"
            self._add(Check.ERASED, what, values.first_there)
        self._requests[leaf.erases] = _Values()

    def _add(self, check: Check, what: str, index: int, path: object = "") -> None:
        shown = path if isinstance(path, str) else repr(path)
        self._findings.add(check, self._tenant, what, first=index, path=shown)
