"""The ways to change a log's structure, its tree regrown as well as one can without the key, and with it: all
are found, the last ones by what a witness saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_proof import Note
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import Logbook
from placet_verify import Check, Finding, Row, Seen, Table, Unreadable

pytestmark = pytest.mark.integration

SIZE, MIDDLE = 12, 6
LOG = "default"
Attack = Callable[[Logbook], None]


def delete(rows: Logbook) -> None:
    rows.delete(LOG, MIDDLE, Table.ENTRY)


def delete_with_its_place(rows: Logbook) -> None:
    rows.delete(LOG, MIDDLE, Table.ENTRY, Table.TREE)


def delete_and_move_up(rows: Logbook) -> None:
    rows.remove(LOG, MIDDLE)
    rows.regrow(LOG)


def delete_the_end(rows: Logbook) -> None:
    rows.cut(LOG, 9, Table.ENTRY, Table.DISCLOSURE)


def delete_the_end_with_its_place(rows: Logbook) -> None:
    rows.cut(LOG, 9, Table.ENTRY, Table.DISCLOSURE, Table.TREE)


def delete_the_midst_of_the_last_commit_with_its_checkpoint(rows: Logbook) -> None:
    rows.cut(LOG, 11, *Table)


def truncate(rows: Logbook) -> None:
    rows.cut(LOG, 0, Table.ENTRY, Table.DISCLOSURE, Table.TREE)


def swap(rows: Logbook) -> None:
    for table in (Table.ENTRY, Table.DISCLOSURE):
        places = {MIDDLE: MIDDLE - 1, MIDDLE - 1: MIDDLE}
        for at, row in enumerate(rows.tables[table]):
            if row[0] == LOG and row[1] in places:
                rows.set(table, at, index=places[int(str(row[1]))])


def swap_and_regrow(rows: Logbook) -> None:
    swap(rows)
    rows.regrow(LOG)


def insert(rows: Logbook) -> None:
    entry = rows.entry(LOG, MIDDLE)
    entry.event.cause_id = "x"
    rows.insert(LOG, MIDDLE, entry)


def insert_and_regrow(rows: Logbook) -> None:
    insert(rows)
    rows.regrow(LOG)


def append(rows: Logbook) -> None:
    entry = rows.entry(LOG, MIDDLE)
    entry.event.cause_id = "x"
    rows.insert(LOG, SIZE, entry)
    rows.regrow(LOG)


def duplicate(rows: Logbook) -> None:
    rows.insert(LOG, MIDDLE, rows.entry(LOG, MIDDLE))
    rows.regrow(LOG)


def duplicate_in_place(rows: Logbook) -> None:
    rows.tables[Table.ENTRY].append(rows.tables[Table.ENTRY][rows.find(Table.ENTRY, LOG, MIDDLE)])


def cut_a_leaf_short(rows: Logbook) -> None:
    at = rows.find(Table.ENTRY, LOG, MIDDLE)
    leaf = rows.tables[Table.ENTRY][at][-1]
    assert isinstance(leaf, bytes)
    rows.set(Table.ENTRY, at, leaf=leaf[:-1])


def rewrite_from_the_midst_without_a_key(rows: Logbook) -> None:
    entry = rows.entry(LOG, MIDDLE)
    entry.event.access_refused.reason = "another"
    rows.rewrite(LOG, MIDDLE, entry)
    rows.regrow(LOG)


def put_an_older_checkpoint(rows: Logbook) -> None:
    older = rows.tables[Table.CHECKPOINT][rows.find(Table.CHECKPOINT, LOG, 5)]
    rows.set(Table.CHECKPOINT, rows.find(Table.CHECKPOINT, LOG, SIZE), note=older[2])


def delete_a_value(rows: Logbook) -> None:
    del rows.tables[Table.DISCLOSURE][a_value(rows)]


def move_a_value(rows: Logbook) -> None:
    rows.set(Table.DISCLOSURE, a_value(rows), index=MIDDLE)


def swap_two_values(rows: Logbook) -> None:
    first, second = [at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[0] == LOG][:2]
    values = [rows.tables[Table.DISCLOSURE][at][3:] for at in (first, second)]
    for at, (salt, value) in zip((second, first), values, strict=True):
        rows.set(Table.DISCLOSURE, at, salt=salt, value=value)


def people_of(rows: Logbook) -> list[int]:
    """The rows of the people whom the request of another tenant names, one in each of two slots."""
    return [at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if "people" in str(row[2])]


def swap_two_people(rows: Logbook) -> None:
    first, second = people_of(rows)
    paths = [rows.tables[Table.DISCLOSURE][at][2] for at in (first, second)]
    for at, path in zip((second, first), paths, strict=True):
        rows.set(Table.DISCLOSURE, at, path=path)


def name_another_index(rows: Logbook) -> None:
    rows.set(Table.DISCLOSURE, people_of(rows)[0], path="event.received.assignments[1].people[0]")


def name_an_index_out_of_range(rows: Logbook) -> None:
    rows.set(Table.DISCLOSURE, people_of(rows)[0], path="event.received.assignments[0].people[1]")


def name_an_index_in_another_spelling(rows: Logbook) -> None:
    rows.set(Table.DISCLOSURE, people_of(rows)[0], path="event.received.assignments[0].people[00]")


def disclose_a_person_twice(rows: Logbook) -> None:
    table = rows.tables[Table.DISCLOSURE]
    table.append(table[people_of(rows)[0]])


def sign_with_another_key(rows: Logbook) -> None:
    rows.reseal(LOG, Ed25519PrivateKey.generate())


def call_the_log_another_tenants(rows: Logbook) -> None:
    for table in Table:
        for at, row in enumerate(rows.tables[table]):
            if row[0] == LOG:
                rows.set(table, at, tenant="theirs")


def a_value(rows: Logbook) -> int:
    return next(
        at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[2] == "event.commented.text"
    )


# With what names the place: an entry, or a checkpoint (below 0).
ATTACKS: dict[Attack, int] = {
    delete: MIDDLE,
    delete_with_its_place: MIDDLE,
    delete_and_move_up: MIDDLE,
    delete_the_end: 11,
    delete_the_end_with_its_place: 9,
    delete_the_midst_of_the_last_commit_with_its_checkpoint: 9,
    truncate: 0,
    swap: MIDDLE,
    swap_and_regrow: MIDDLE - 1,
    insert: MIDDLE,
    insert_and_regrow: MIDDLE,
    append: SIZE,
    duplicate: MIDDLE + 1,
    duplicate_in_place: MIDDLE,
    cut_a_leaf_short: MIDDLE,
    rewrite_from_the_midst_without_a_key: MIDDLE,
    put_an_older_checkpoint: -SIZE,
    delete_a_value: 9,
    move_a_value: MIDDLE,
    swap_two_values: 1,
    swap_two_people: 0,
    name_another_index: 0,
    name_an_index_out_of_range: 0,
    name_an_index_in_another_spelling: 0,
    disclose_a_person_twice: 0,
    sign_with_another_key: -SIZE,
    call_the_log_another_tenants: -SIZE,
}


def names(finding: Finding, place: int) -> bool:
    return finding.checkpoint == -place if place < 0 else finding.names(place)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_it_is_found_and_its_place_is_named(sample: SampleLog, attack: Attack) -> None:
    rows = sample.rows.copied()
    attack(rows)
    assert any(names(one, ATTACKS[attack]) for one in sample.findings(rows)), sample.findings(rows)


def test_what_is_right_is_not_blamed_for_what_is_wrong(sample: SampleLog) -> None:
    """One change is told in few words, however long the log: its place, and the first root that it made."""
    rows = sample.rows.copied()
    rewrite_from_the_midst_without_a_key(rows)
    (finding,) = sample.findings(rows)
    assert (finding.check, finding.first, finding.last, finding.checkpoint) == (Check.ROOT, 6, 6, 7)
    assert "3 checkpoints after it" in finding.what
    rows = sample.rows.copied()
    cut_a_leaf_short(rows)
    assert {one.first for one in sample.findings(rows)} == {MIDDLE}


def test_where_entries_are_missing_without_a_trace_no_root_is_blamed(sample: SampleLog) -> None:
    rows = sample.rows.copied()
    delete_with_its_place(rows)
    missing, root = sorted(sample.findings(rows), key=lambda one: one.check)
    assert (missing.check, missing.first) == (Check.ENTRIES, MIDDLE)
    assert "cannot be compared, because entries are missing" in root.what


def fork(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rewrite_from_the_midst_without_a_key(rows)
    rows.reseal(LOG, key)


def delete_and_sign(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.remove(LOG, MIDDLE)
    rows.reseal(LOG, key)


def put_back(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.cut(LOG, 9, *Table)


def put_back_and_write_on(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.cut(LOG, 9, *Table)
    for n in range(9):
        entry = rows.entry(LOG, MIDDLE)
        entry.event.cause_id = f"x{n}"
        rows.insert(LOG, 9 + n, entry)
    rows.reseal(LOG, key)


def delete_the_tenant(rows: Logbook, key: Ed25519PrivateKey) -> None:
    for table in Table:
        rows.tables[table] = [row for row in rows.tables[table] if row[0] != LOG]


@pytest.fixture
def seen(sample: SampleLog) -> list[Seen]:
    """Each log's newest checkpoint."""
    found: dict[str, Seen] = {}
    for tenant, _, note in sample.rows.tables[Table.CHECKPOINT]:
        checkpoint = Note.parse(str(note)).checkpoint
        found[str(tenant)] = Seen(str(tenant), checkpoint.size, checkpoint.root, 1_700_000_000)
    return list(found.values())


@pytest.mark.parametrize(
    "attack",
    [fork, delete_and_sign, put_back, put_back_and_write_on, delete_the_tenant],
    ids=lambda attack: attack.__name__,
)
def test_a_witness_finds_what_nobody_else_can(
    sample: SampleLog, seen: list[Seen], attack: Callable[[Logbook, Ed25519PrivateKey], None]
) -> None:
    rows = sample.rows.copied()
    assert sample.findings(rows, seen=seen) == []
    attack(rows, sample.stolen_key)
    assert sample.findings(rows) == []
    (finding,) = sample.findings(rows, seen=seen)
    assert (finding.check, finding.tenant, finding.checkpoint) == (Check.WITNESS, LOG, SIZE)
    assert "2023-11-14" in finding.what


class Torn(Logbook):
    """Rows of which a table cannot be read to its end."""

    def rows(self, table: Table, tenant: str) -> Iterator[Row]:
        yield from super().rows(table, tenant)
        if table is Table.TREE and tenant == "default":
            raise Unreadable("the disk is gone")


def test_a_table_that_cannot_be_read_to_its_end_is_told_with_where_it_ends(sample: SampleLog) -> None:
    torn = Torn(sample.rows.tables)
    (found,) = sample.findings(torn)
    assert (found.check, found.tenant, found.first) == (Check.FILE, "default", 12)
    assert found.what == "table tree cannot be read any further: the disk is gone"
    assert sample.findings(torn, without={Check.FILE}) == []
