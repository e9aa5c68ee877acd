"""A log as `placet audit export` writes it: a line of JSON for the header, then one for each entry."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from placet_proof import JsonObject, Note, NotJson, NotProven, VerifierKey, decoded, read_object
from placet_proof.json_reader import size_in_words
from placet_proof.notes import NUMBER
from placet_verify.errors import fault_of
from placet_verify.files import Kind, kind_of
from placet_verify.findings import Check, Findings
from placet_verify.rows import Record, Row, Unreadable

# A line holds one entry and its values, which fit a message of 4 MiB; in base64 they take a third more.
MOST_LINE_BYTES = 8 << 20

_HEADER = {"checkpoint", "keys", "attestationKeys"}
_ENTRY = {"index", "leaf", "disclosures", "checkpoint"}
_DISCLOSURE = {"path", "salt", "value"}


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

    def schema_faults(self) -> Iterator[str]:
        """Nothing: there are no tables."""
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
        note = _text(header, "checkpoint")
        checkpoint = Note.parse(note).checkpoint
        for key in [*_list(header, "keys"), *_list(header, "attestationKeys")]:
            VerifierKey.parse(key if isinstance(key, str) else "")
    except (NotJson, NotProven) as error:
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
        values = [_value(one) for one in _list(entry, "disclosures")]
        index, leaf = _index(entry), _text(entry, "leaf")
        note = _text(entry, "checkpoint") if "checkpoint" in entry else ""
    except NotJson as error:
        raise Unreadable(fault_of(error)) from error
    return Record(index, [(None, None, None, _bytes(leaf))], values, notes=[note] if note else [])


def _index(entry: JsonObject) -> int:
    """The index, which proto3 JSON writes as text, or omits when it is 0."""
    found = entry.get("index", "0")
    if not isinstance(found, str) or not NUMBER.fullmatch(found):
        raise NotJson("its index is not a number of 64 bits, written as text")
    return int(found)


def _value(one: object) -> Row:
    if not isinstance(one, dict):
        raise NotJson("a value of it is no JSON object")
    _check_fields(one, _DISCLOSURE)
    # Proto3 JSON leaves out what is empty.
    value = _text(one, "value") if "value" in one else ""
    return _text(one, "path"), _bytes(_text(one, "salt")), value.encode()


def _text(found: JsonObject, name: str) -> str:
    text = found.get(name)
    if not isinstance(text, str):
        raise NotJson(f"its {name} is {'no text' if name in found else 'missing'}")
    return text


def _list(found: JsonObject, name: str) -> list[object]:
    items = found.get(name, [])
    if not isinstance(items, list):
        raise NotJson(f"its {name} is no list")
    return items


def _bytes(encoded: str) -> object:
    """The bytes; what is no base64 stays as it is, to be reported of its entry."""
    try:
        return decoded(encoded)
    except NotProven:
        return encoded


def _parsed(line: bytes, known: Collection[str]) -> JsonObject:
    """A JSON object that has these fields at most. Raises NotJson."""
    if not line.endswith(b"\n"):
        raise NotJson(f"it has no end, or is larger than {size_in_words(MOST_LINE_BYTES)}")
    parsed = read_object(line, MOST_LINE_BYTES)
    _check_fields(parsed, known)
    return parsed


def _check_fields(found: JsonObject, known: Collection[str]) -> None:
    if unknown := [name for name in found if name not in known]:
        raise NotJson(f"{unknown[0]!r:.60} has no place in an export")
