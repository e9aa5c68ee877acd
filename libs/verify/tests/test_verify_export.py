"""Exports: written whole or not at all, and verified by themselves, bit by bit."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson

from placet.audit.v1 import audit_service_pb2, proof_pb2
from placet_cli.export_file import write_export
from placet_cli.problems import Problem
from placet_proof import Checkpoint, Note
from placet_proof.frontier import Frontier
from placet_proof.signer import signed
from placet_testing.properties import bits_to_flip
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ORIGIN, Logbook
from placet_verify import Check, ExportSource, Findings, Record, Seen, Table

pytestmark = pytest.mark.integration


def messages_of(rows: Logbook, tenant: str) -> list[audit_service_pb2.ExportEventsResponse]:
    """Lines that AuditService would send of a tenant's rows."""
    notes = {row[1]: str(row[2]) for row in rows.of(Table.CHECKPOINT, tenant)}
    header = proof_pb2.ExportHeader(checkpoint=notes[max(notes, key=lambda size: int(str(size)))])
    entries = []
    for _, index, *_, leaf in rows.of(Table.ENTRY, tenant):
        assert isinstance(index, int)
        assert isinstance(leaf, bytes)
        disclosures = [
            proof_pb2.Disclosure(path=str(path), salt=salt, value=value)  # type: ignore[arg-type]  # as stored
            for _, of, path, salt, value in rows.of(Table.DISCLOSURE, tenant)
            if of == index
        ]
        entries.append(
            proof_pb2.ExportedEntry(
                index=index, leaf=leaf, disclosures=disclosures, checkpoint=notes.get(index + 1, "")
            )
        )
    return [
        audit_service_pb2.ExportEventsResponse(header=header),
        *(audit_service_pb2.ExportEventsResponse(entries=[one]) for one in entries),
    ]


def lines_of(rows: Logbook, tenant: str) -> list[str]:
    header, *others = messages_of(rows, tenant)
    return [
        MessageToJson(header.header, indent=None) + "\n",
        *(json.dumps({"index": "0"} | MessageToDict(one.entries[0])) + "\n" for one in others),
    ]


@pytest.fixture
def lines(sample: SampleLog) -> list[str]:
    """The export of the larger log."""
    return lines_of(sample.rows, "default")


def checks(sample: SampleLog, path: Path, text: str) -> set[Check]:
    path.write_text(text)
    return {one.check for one in sample.findings(ExportSource(path))}


def test_a_whole_export_is_good(sample: SampleLog, lines: list[str], tmp_path: Path) -> None:
    assert checks(sample, tmp_path / "log", "".join(lines)) == set()


@pytest.mark.usefixtures("unchanged_parts_remembered")
def test_a_flipped_bit_of_an_export_is_found_or_says_the_same(sample: SampleLog, tmp_path: Path) -> None:
    path, text = tmp_path / "log", "".join(lines_of(sample.rows, "other")).encode()

    def records() -> list[Record]:
        return list(ExportSource(path).records("other", Findings()))

    path.write_bytes(text)
    whole, same = records(), 0
    for bit in bits_to_flip(len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        if not sample.findings(ExportSource(path)):
            assert records() == whole
            same += 1
    # White space, and the case of letters in JSON's own escapes.
    assert same < len(text) / 10


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda lines: lines[:-1], Check.COVERAGE),
        (lambda lines: lines[:5], Check.COVERAGE),
        (lambda lines: lines[:1], Check.COVERAGE),
        (lambda lines: [], Check.FILE),
        (lambda lines: lines[1:], Check.FILE),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], Check.FILE),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], Check.FILE),
        (lambda lines: [*lines[:3], lines[3][:40] + "\n", *lines[4:]], Check.FILE),
        (lambda lines: [*lines[:3], "\n", *lines[3:]], Check.FILE),
        (lambda lines: [*lines[:3], "[" * 100_000 + "\n", *lines[3:]], Check.FILE),
        (lambda lines: [*lines[:3], *lines[4:]], Check.ENTRIES),
        (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], Check.ENTRIES),
        (lambda lines: [*lines[:4], *lines[3:]], Check.ENTRIES),
        (lambda lines: [*lines, lines[-1]], Check.ENTRIES),
        (lambda lines: [*lines[:3], lines[3].replace('"leaf": "', '"leaf": "!'), *lines[4:]], Check.TYPES),
        (lambda lines: [*lines[:3], lines[3].replace('"leaf"', '"loaf"'), *lines[4:]], Check.FILE),
        (lambda lines: [*lines[:3], lines[3].replace("{", '{"index": "2", ', 1), *lines[4:]], Check.FILE),
        *(
            (lambda lines, to=to: [*lines[:3], lines[3].replace('"2"', to), *lines[4:]], Check.FILE)
            for to in ("2.0", '" 2"', '"-2"', "true", "1e999", '"٢"', '"' + "9" * 5000 + '"')
        ),
        (lambda lines: [lines[0].replace("default", "nobody"), *lines[1:]], Check.SIGNATURE),
    ],
)
def test_a_changed_export_is_found(
    sample: SampleLog, lines: list[str], tmp_path: Path, change: object, check: Check
) -> None:
    assert callable(change)
    assert check in checks(sample, tmp_path / "log", "".join(change(lines)))


def test_an_export_that_was_cut_is_found_by_a_witness_alone_and_told_as_older(
    sample: SampleLog, tmp_path: Path
) -> None:
    """Each of its own checkpoints would allow it to end there."""
    rows = sample.rows.copied()
    rows.cut("default", 9, *Table)
    path = tmp_path / "log"
    path.write_text("".join(lines_of(rows, "default")))
    assert sample.findings(ExportSource(path)) == []
    (found,) = sample.findings(ExportSource(path), seen=[Seen("default", 12, bytes(32), 1_700_000_000)])
    assert (found.check, found.checkpoint) == (Check.WITNESS, 12)
    assert found.what == (
        "this export is older than what the witness saw at 2023-11-14 22:13:20 UTC, 12 entries, or was cut "
        "off since: beyond its 9 nothing can be compared"
    )


@pytest.mark.parametrize("forked", [False, True])
def test_an_older_export_is_compared_with_what_a_witness_saw_within_it(
    sample: SampleLog, tmp_path: Path, forked: bool
) -> None:
    rows = sample.rows.copied()
    (within,) = [
        Note.parse(str(note)).checkpoint
        for _, size, note in rows.of(Table.CHECKPOINT, "default")
        if size == 8
    ]
    rows.cut("default", 9, *Table)
    if forked:
        entry = rows.entry("default", 6)
        entry.event.access_refused.reason = "another"
        rows.rewrite("default", 6, entry)
        rows.reseal("default", sample.stolen_key)
    path = tmp_path / "log"
    path.write_text("".join(lines_of(rows, "default")))
    seen = [Seen("default", 8, within.root, 0), Seen("default", 12, bytes(32), 0)]
    found = [one.what for one in sample.findings(ExportSource(path), seen=seen)]
    assert ["are not those that a witness saw" in what for what in found] == [True, False][1 - forked :]


def test_an_entry_of_another_tenant_is_found(sample: SampleLog, tmp_path: Path) -> None:
    rows, path = sample.rows.copied(), tmp_path / "log"
    entry = rows.entry("default", 6)
    entry.tenant, entry.event.cause_id = "other", "x"
    rows.insert("default", 12, entry)
    rows.reseal("default", sample.stolen_key)
    path.write_text("".join(lines_of(rows, "default")))
    assert [one.check for one in sample.findings(ExportSource(path))] == [Check.COLUMNS]
    assert sample.findings(ExportSource(path), without={Check.COLUMNS}) == []


@pytest.mark.parametrize("forged", [False, True])
def test_an_export_of_an_empty_log_is_signed_too(sample: SampleLog, tmp_path: Path, forged: bool) -> None:
    text = Checkpoint(f"{ORIGIN}/default", 0, Frontier().root()).text
    name = f"{ORIGIN}/{'other' if forged else 'default'}"
    note = f"{text}\n{signed(text, sample.stolen_key, name)}"
    found = checks(sample, tmp_path / "log", json.dumps({"checkpoint": note}) + "\n")
    assert found == ({Check.SIGNATURE} if forged else set())


async def sent(
    messages: list[audit_service_pb2.ExportEventsResponse], breaks: Exception | None = None
) -> AsyncIterator[audit_service_pb2.ExportEventsResponse]:
    for one in messages:
        yield one
    if breaks is not None:
        raise breaks


async def test_an_export_is_written_whole(sample: SampleLog, lines: list[str], tmp_path: Path) -> None:
    told: list[int] = []
    messages = messages_of(sample.rows, "default")
    assert await write_export(sent(messages), tmp_path / "log", told.append) == 12
    assert (tmp_path / "log").read_text() == "".join(lines)
    assert told[-1] == 12
    _, first, *_ = (tmp_path / "log").read_text().splitlines()
    assert json.loads(first)["index"] == "0"


@pytest.mark.parametrize(
    ("of", "breaks", "said"),
    [
        (slice(0, 5), None, "ended early"),
        (slice(0, 0), None, "ended early"),
        (slice(1, 5), None, "ended early"),
        (slice(0, None, 2), None, "has a gap"),
        (slice(0, 5), KeyboardInterrupt("Ctrl-C"), "Ctrl-C"),
        (slice(0, 5), OSError("no room"), "cannot write"),
    ],
)
async def test_an_export_that_breaks_leaves_what_was_there_before(
    sample: SampleLog, tmp_path: Path, of: slice, breaks: Exception | None, said: str
) -> None:
    path = tmp_path / "log"
    path.write_text("an older one")
    messages = messages_of(sample.rows, "default")[of]
    with pytest.raises((Problem, KeyboardInterrupt), match=said):
        await write_export(sent(messages, breaks), path, lambda _count: None)
    assert path.read_text() == "an older one"
    assert os.listdir(tmp_path) == [path.name]


def test_findings_in_an_export_speak_of_no_tables_and_no_none(
    sample: SampleLog, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text("".join([*lines, lines[10]]))
    told = [one.what for one in sample.findings(ExportSource(path))]
    assert any(what == "it comes twice, or after a later one" for what in told)
    assert any(what.startswith("this value belongs to no entry: 'event.") for what in told)
    assert not any("None" in what or "table" in what for what in told)
