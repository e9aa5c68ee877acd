"""A log as `placet audit export` writes it: a line of JSON for the header, then one for each entry."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from placet_proof import Note, NotProven, VerifierKey, decoded
from placet_verify.faults import fault_of
from placet_verify.findings import Check, Findings
from placet_verify.kinds import Kind, kind_of
from placet_verify.rows import Record, Row, Unreadable

# A line holds one entry and its values, which fit a message of 4 MiB; in base64 they take a third more.
MOST_LINE_BYTES = 8 << 20

_HEADER = {"checkpoint", "keys"}
_ENTRY = {"index", "leaf", "disclosures", "checkpoint"}
_DISCLOSURE = {"path", "salt", "value"}

# JSON, of which every part is checked before it is used; hence Any.
_Json = dict[str, Any]


class ExportSource:
    """One tenant's log in a file."""

    has_tables = False

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        with path.open("rb"):
            pass

    def damage(self) -> Iterator[str]:
        """Nothing: what is wrong with a line is reported when it is read."""
        yield from ()

    def tenants(self) -> Sequence[object]:
        """The tenant that the header names."""
        with self._path.open("rb") as file:
            return [_header(file)[0].rpartition("/")[2]]

    def records(self, tenant: str, findings: Findings) -> Iterator[Record]:
        """See Source."""
        index = -1
        with self._path.open("rb") as file:
            _, size, note = _header(file)
            if not size:
                yield Record(-1, notes=[note])
            while line := file.readline(MOST_LINE_BYTES):
                try:
                    record = _record(line)
                except Unreadable as error:
                    what = f"a line of the export is not an entry: {error}"
                    findings.add(Check.FILE, tenant, what, first=index + 1)
                    continue
                index = record.index
                if index == size - 1 and note not in record.notes:
                    record.notes.insert(0, note)
                yield record
        if index < size - 1:
            yield Record(size - 1, notes=[note])


def _header(file: BinaryIO) -> tuple[str, int, str]:
    """The origin and the size that the header's checkpoint names, and its note. Raises Unreadable."""
    try:
        header = _parsed(file.readline(MOST_LINE_BYTES), _HEADER)
        note = header["checkpoint"]
        checkpoint = Note.parse(note).checkpoint
        for key in header.get("keys", []):
            VerifierKey.parse(key)
    except (KeyError, TypeError, ValueError, AttributeError, NotProven) as error:
        file.seek(0)
        kind = kind_of(file.read(MOST_LINE_BYTES))
        if kind in (Kind.RECEIPT, Kind.DATABASE):
            raise Unreadable(f"{kind}") from error
        raise Unreadable(f"the first line is not the header of an export: {fault_of(error)}") from error
    return checkpoint.origin, checkpoint.size, note


def _record(line: bytes) -> Record:
    """Parses a line. Raises Unreadable."""
    try:
        entry = _parsed(line, _ENTRY)
        values = [_value(one) for one in entry.get("disclosures", [])]
        index, leaf, note = _index(entry), entry["leaf"], entry.get("checkpoint", "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(fault_of(error)) from error
    return Record(index, [(None, None, None, _bytes(leaf))], values, notes=[note] if note else [])


def _index(entry: _Json) -> int:
    # Proto3 JSON leaves out what is 0, and writes numbers of 64 bits as text.
    written = str(entry.get("index", 0))
    if not (written.isascii() and written.isdigit() and len(written) < 20):
        raise ValueError(f"{written:.60} is no index")
    return int(written)


def _value(one: _Json) -> Row:
    _check_fields(one, _DISCLOSURE)
    value = one.get("value", "").encode(errors="surrogatepass")
    return one["path"], _bytes(one["salt"]), value


def _bytes(encoded: object) -> object:
    """The bytes; what is no base64 stays as it is, to be reported of its entry."""
    try:
        return decoded(encoded) if isinstance(encoded, str) else encoded
    except NotProven:
        return encoded


def _parsed(line: bytes, known: Collection[str]) -> _Json:
    """A JSON object that has these fields at most, each once. Raises ValueError, TypeError."""
    if not line.endswith(b"\n"):
        raise ValueError("it has no end")
    try:
        parsed: _Json = json.loads(line.decode(), object_pairs_hook=once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_fields(parsed, known)
    return parsed


def once(pairs: list[tuple[str, Any]]) -> _Json:
    """A JSON object without fields that are there twice, and could be read in two ways. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _check_fields(found: _Json, known: Collection[str]) -> None:
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"{unknown[0]!r:.60} has no place in an export")
