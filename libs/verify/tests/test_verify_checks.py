"""Each check of the verifier is needed: without it, one attack would go unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.event.v1 import event_pb2
from placet_proof import Checkpoint
from placet_proof.frontier import Frontier
from placet_proof.signer import signed
from placet_testing.attestation import attest
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import CLOSED, ELSEWHERE, ERASED, ORIGIN, Logbook
from placet_verify import Check, Row, Seen, SqliteSource, Table

pytestmark = pytest.mark.integration

Attack = Callable[[Logbook, Ed25519PrivateKey], None]
# Contents of the sample's log at these places (see placet_testing.sample_log).
VOTED, REFUSAL, UNNAMED_REFUSAL, ERASURE, LATE, VOTED_LATER, DECIDED, LAST = 2, 5, 6, 7, 8, 9, 10, 11
SIZE = 12


def forged(**event: object) -> event_pb2.Entry:
    """An entry of the tenant, without values."""
    return event_pb2.Entry(tenant="default", event=event_pb2.Event(**event))  # type: ignore[arg-type]  # a test's shorthand


def erasure_of(approval_id: str, values: int) -> event_pb2.Entry:
    erased = event_pb2.Erased(approval_id=approval_id, values=values)
    return forged(cause_id=f"erase/{approval_id}/9", erased=erased)


def replace_a_signature(rows: Logbook, key: Ed25519PrivateKey) -> None:
    """One in the midst is signed by somebody else."""
    other = rows.copied()
    other.reseal("default", Ed25519PrivateKey.generate())
    at = rows.find(Table.CHECKPOINT, "default", 5)
    rows.tables[Table.CHECKPOINT][at] = other.tables[Table.CHECKPOINT][
        other.find(Table.CHECKPOINT, "default", 5)
    ]


def add_a_signature(rows: Logbook, key: Ed25519PrivateKey) -> None:
    """Of somebody else, beside the log's own."""
    at = rows.find(Table.CHECKPOINT, "default", 5)
    note = str(rows.tables[Table.CHECKPOINT][at][2])
    text = note.partition("\n\n")[0] + "\n"
    mallory = signed(text, Ed25519PrivateKey.generate(), f"{ORIGIN}/mallory")
    rows.set(Table.CHECKPOINT, at, note=note + mallory)


def sign_for_another_log(rows: Logbook, key: Ed25519PrivateKey) -> None:
    """The right root, by the stolen key, under the log's name, but the text says another one."""
    at = rows.find(Table.CHECKPOINT, "default", 5)
    lines = str(rows.tables[Table.CHECKPOINT][at][2]).split("\n")
    text = "\n".join(["evil.example/placet/default", *lines[1:3]]) + "\n"
    rows.set(Table.CHECKPOINT, at, note=f"{text}\n{signed(text, key, f'{ORIGIN}/default')}")


def change_an_entry_and_regrow_the_tree(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = rows.entry("default", VOTED)
    entry.event.traceparent = "00-0-0-00"
    rows.rewrite("default", VOTED, entry)
    rows.regrow("default")


def put_an_older_checkpoint(rows: Logbook, key: Ed25519PrivateKey) -> None:
    older = rows.tables[Table.CHECKPOINT][rows.find(Table.CHECKPOINT, "default", 2)]
    rows.set(Table.CHECKPOINT, rows.find(Table.CHECKPOINT, "default", 5), note=older[2])


def delete_the_end(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.cut("default", VOTED_LATER, Table.ENTRY, Table.DISCLOSURE, Table.TREE)


def delete_the_newest_checkpoint(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.delete("default", SIZE, Table.CHECKPOINT)


def delete_all_checkpoints(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.cut("default", 0, Table.CHECKPOINT)


def delete_an_entry(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.delete("default", UNNAMED_REFUSAL, Table.ENTRY)


def change_a_hash_of_the_tree(rows: Logbook, key: Ed25519PrivateKey) -> None:
    at = rows.find(Table.TREE, "default", 3)
    roots = rows.tables[Table.TREE][at][2]
    assert isinstance(roots, bytes)
    rows.set(Table.TREE, at, roots=roots[:-32] + bytes(32))


def delete_from_the_tree(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.delete("default", 4, Table.TREE)


def append_what_is_no_entry(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.tables[Table.ENTRY].append(("default", SIZE, "", 0, "x", b"garbage"))
    rows.reseal("default", key)


def change_a_column(table_column: str, value: object) -> Attack:
    return lambda rows, key: rows.set(
        Table.ENTRY, rows.find(Table.ENTRY, "default", VOTED), **{table_column: value}
    )


def close_what_is_not_decided(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = event_pb2.Entry(tenant="other", approval_id=ELSEWHERE, number=3)
    entry.event.closed.state = event_pb2.STATE_APPROVED
    rows.insert("other", 2, entry)
    rows.reseal("other", key)


def end_within_a_step(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = event_pb2.Entry(tenant="other", approval_id=ELSEWHERE, number=3)
    entry.event.decided.state = event_pb2.STATE_CANCELLED
    entry.event.decided.source = event_pb2.SOURCE_REQUESTER
    attest(entry.event, "other", ELSEWHERE, operator=True).attestation.service.ClearField("salt_seed")
    rows.insert("other", 2, entry)
    rows.reseal("other", key)


def take_an_attestation_away(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = rows.entry("default", VOTED)
    entry.event.ClearField("attestation")
    rows.rewrite("default", VOTED, entry)
    rows.reseal("default", key)


def transplant_an_attestation(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry, other = rows.entry("default", VOTED), rows.entry("default", VOTED_LATER)
    entry.event.attestation.CopyFrom(other.event.attestation)
    rows.rewrite("default", VOTED, entry)
    rows.reseal("default", key)


def attest_with_the_logs_own_key(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = rows.entry("default", VOTED)
    service = attest(entry.event, "default", entry.approval_id, key=key).attestation.service
    service.ClearField("salt_seed")
    rows.rewrite("default", VOTED, entry)
    rows.reseal("default", key)


def say_of_a_tenant_what_is_of_a_request(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = forged(cause_id="x", commented=event_pb2.Commented())
    rows.insert("default", SIZE, entry)
    rows.reseal("default", key)


def append_what_is_of_another_tenant(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = forged(cause_id="x", access_refused=event_pb2.AccessRefused())
    entry.tenant = "other"
    rows.insert("default", SIZE, entry)
    rows.reseal("default", key)


def leave_out_an_event(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.remove("default", DECIDED)
    rows.reseal("default", key)


def switch_off_before_an_automatic_decision(rows: Logbook, key: Ed25519PrivateKey) -> None:
    switched = event_pb2.AutomationSwitched(off=True)
    entry = forged(cause_id="automation/9", automation_switched=switched)
    entry.tenant = "eventful"
    rows.insert("eventful", 1, entry)
    rows.reseal("eventful", key)


def withhold_by_what_switched_nothing_off(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = rows.entry("eventful", 2)
    entry.event.withheld.switched_off_index = 0
    rows.rewrite("eventful", 2, entry)
    rows.reseal("eventful", key)


def number_what_is_of_no_request(rows: Logbook, key: Ed25519PrivateKey) -> None:
    entry = forged(cause_id="x", access_refused=event_pb2.AccessRefused())
    entry.number = 3
    rows.insert("default", SIZE, entry)
    rows.reseal("default", key)


def append_an_event_of_the_tenant_again(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.insert("default", SIZE, rows.entry("default", UNNAMED_REFUSAL))
    rows.reseal("default", key)


def change_a_value(rows: Logbook, key: Ed25519PrivateKey) -> None:
    at = next(at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[2] == "event.commented.text")
    rows.set(Table.DISCLOSURE, at, value=b"I was forced")


def shift_a_value_into_its_salt(rows: Logbook, key: Ed25519PrivateKey) -> None:
    at = next(at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[2] == "event.commented.text")
    *_, salt, value = rows.tables[Table.DISCLOSURE][at]
    assert isinstance(salt, bytes)
    assert isinstance(value, bytes)
    rows.set(Table.DISCLOSURE, at, salt=salt + value[:1], value=value[1:])


def keep_a_value_that_is_no_text(rows: Logbook, key: Ed25519PrivateKey) -> None:
    at = next(at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[2] == "event.commented.text")
    rows.set(Table.DISCLOSURE, at, value=b"\xff")


def delete_a_value_at(index: int) -> Attack:
    return lambda rows, key: rows.delete("default", index, Table.DISCLOSURE)


def erase_on_paper_only(rows: Logbook, key: Ed25519PrivateKey) -> None:
    """The log says that values are erased that are still there."""
    indexes = {row[1] for row in rows.of(Table.ENTRY, "default") if row[2] == CLOSED}
    values = [row for row in rows.of(Table.DISCLOSURE, "default") if row[1] in indexes]
    rows.insert("default", SIZE, erasure_of(CLOSED, len(values)))
    rows.reseal("default", key)


def put_back_what_was_erased(rows: Logbook, key: Ed25519PrivateKey) -> None:
    """As `erase_on_paper_only`, one value alone: the others are gone."""
    erase_on_paper_only(rows, key)
    indexes = {row[1] for row in rows.of(Table.ENTRY, "default") if row[2] == CLOSED}
    rows.tables[Table.DISCLOSURE] = [
        row
        for row in rows.tables[Table.DISCLOSURE]
        if row[0] != "default" or row[1] not in indexes or row[2] == "event.commented.text"
    ]


def erase_more_than_is_said(rows: Logbook, key: Ed25519PrivateKey) -> None:
    indexes = {row[1] for row in rows.of(Table.ENTRY, "default") if row[2] == CLOSED}
    rows.tables[Table.DISCLOSURE] = [
        row for row in rows.tables[Table.DISCLOSURE] if row[0] != "default" or row[1] not in indexes
    ]
    rows.insert("default", SIZE, erasure_of(CLOSED, 1))
    rows.reseal("default", key)


def erase_what_never_was(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.insert("default", SIZE, erasure_of(ELSEWHERE, 0))
    rows.reseal("default", key)


def add(table: Table, *row: object) -> Attack:
    return lambda rows, key: rows.tables[table].append(("default", *row))


def keep_a_value_as_text(rows: Logbook, key: Ed25519PrivateKey) -> None:
    at = next(at for at, row in enumerate(rows.tables[Table.DISCLOSURE]) if row[2] == "event.commented.text")
    rows.set(Table.DISCLOSURE, at, value="go")


def add_the_checkpoint_of_nothing(rows: Logbook, key: Ed25519PrivateKey) -> None:
    text = Checkpoint(f"{ORIGIN}/default", 0, Frontier().root()).text
    note = f"{text}\n{signed(text, key, f'{ORIGIN}/default')}"
    rows.tables[Table.CHECKPOINT].append(("default", 0, note))


def double(table: Table) -> Attack:
    return lambda rows, key: rows.tables[table].append(rows.of(table, "default")[-1])


# All of one check are found by it alone.
ATTACKS: dict[Check, list[Attack]] = {
    Check.SIGNATURE: [replace_a_signature, add_a_signature, sign_for_another_log],
    Check.ROOT: [change_an_entry_and_regrow_the_tree],
    Check.COVERAGE: [delete_the_end, delete_the_newest_checkpoint, delete_all_checkpoints],
    Check.SIZE: [put_an_older_checkpoint],
    Check.ENTRIES: [delete_an_entry, double(Table.ENTRY)],
    Check.TREE: [change_a_hash_of_the_tree, delete_from_the_tree],
    Check.LEAF: [append_what_is_no_entry],
    Check.COLUMNS: [
        change_a_column("approval_id", CLOSED),
        change_a_column("number", 7),
        change_a_column("cause_id", "x"),
        change_a_column("cause_id", None),
        append_what_is_of_another_tenant,
    ],
    Check.GRAMMAR: [
        close_what_is_not_decided,
        end_within_a_step,
        say_of_a_tenant_what_is_of_a_request,
        switch_off_before_an_automatic_decision,
        withhold_by_what_switched_nothing_off,
    ],
    Check.NUMBERS: [leave_out_an_event, number_what_is_of_no_request],
    Check.CAUSES: [append_an_event_of_the_tenant_again],
    Check.ATTESTATION: [take_an_attestation_away, transplant_an_attestation, attest_with_the_logs_own_key],
    Check.OPENING: [change_a_value, shift_a_value_into_its_salt, keep_a_value_that_is_no_text],
    Check.MISSING: [delete_a_value_at(index) for index in (VOTED_LATER, REFUSAL, ERASURE, LATE)],
    Check.ERASED: [erase_on_paper_only, put_back_what_was_erased],
    Check.ERASURES: [erase_more_than_is_said, erase_what_never_was],
    Check.TYPES: [
        add(Table.DISCLOSURE, "abc", "event.commented.text", b"", b""),
        add(Table.TREE, 5.5, b""),
        add(Table.TREE, b"\5", b""),
        add(Table.CHECKPOINT, None, ""),
        add(Table.ENTRY, "12", ERASED, 1, "", b""),
        keep_a_value_as_text,
    ],
    Check.EXTRA: [
        add(Table.DISCLOSURE, SIZE, "event.commented.text", bytes(16), b"x"),
        add(Table.DISCLOSURE, -1, "event.commented.text", bytes(16), b"x"),
        add(Table.TREE, 1 << 40, bytes(32)),
        add(Table.TREE, -3, bytes(32)),
        add_the_checkpoint_of_nothing,
        *(double(table) for table in Table if table is not Table.ENTRY),
    ],
}
CASES = [(check, attack) for check, attacks in ATTACKS.items() for attack in attacks]


@pytest.mark.parametrize(("check", "attack"), CASES, ids=lambda one: getattr(one, "__name__", str(one)))
def test_without_its_check_an_attack_goes_unnoticed(sample: SampleLog, check: Check, attack: Attack) -> None:
    rows = sample.rows.copied()
    attack(rows, sample.stolen_key)
    assert {one.check for one in sample.findings(rows)} == {check}
    assert sample.findings(rows, without={check}) == []


def test_without_a_witness_a_log_that_was_put_back_goes_unnoticed(sample: SampleLog) -> None:
    rows = sample.rows.copied()
    rows.cut("default", LATE, *Table)
    seen = [Seen("default", SIZE, bytes(32), 1_700_000_000)]
    assert sample.findings(rows) == []
    assert [one.check for one in sample.findings(rows, seen=seen)] == [Check.WITNESS]
    assert sample.findings(rows, seen=seen, without={Check.WITNESS}) == []


def test_without_the_databases_own_check_a_changed_index_goes_unnoticed(
    sample: SampleLog, tmp_path: Path
) -> None:
    """A service's look-up could then find another entry than a read in order."""
    path = tmp_path / "audit.db"
    shutil.copy(sample.home.database("audit"), path)
    raw = path.read_bytes()
    # Only in the index of causes do these two stand beside each other.
    assert raw.count(b"defaultapproval/refusal/1") == 1
    path.write_bytes(raw.replace(b"defaultapproval/refusal/1", b"defaultapproval/refusal/0"))
    with closing(SqliteSource(path)) as source:
        (found,) = sample.findings(source)
        assert found.check is Check.FILE
        assert f"index {REFUSAL} of default" in found.what
        assert sample.findings(source, without={Check.FILE}) == []


def test_there_is_an_attack_for_every_check() -> None:
    assert set(ATTACKS) | {Check.WITNESS, Check.FILE, Check.SCHEMA} == set(Check)


def test_the_sample_has_at_its_places_what_the_attacks_suppose(sample: SampleLog) -> None:
    bodies = [sample.rows.entry("default", n).event.WhichOneof("body") for n in range(SIZE)]
    assert bodies == [
        *("received", "received", "commented", "decided", "closed", "access_refused", "access_refused"),
        *("erased", "refused", "commented", "decided", "closed"),
    ]
    assert not rows_of_values(sample, UNNAMED_REFUSAL)
    assert not rows_of_values(sample, VOTED)
    assert all(rows_of_values(sample, n) for n in (REFUSAL, ERASURE, LATE, VOTED_LATER))


def rows_of_values(sample: SampleLog, index: int) -> list[Row]:
    return [row for row in sample.rows.of(Table.DISCLOSURE, "default") if row[1] == index]


def test_findings_are_told_in_words_that_stand_by_themselves(sample: SampleLog) -> None:
    def told(attack: Attack) -> str:
        rows = sample.rows.copied()
        attack(rows, sample.stolen_key)
        return "; ".join(one.what for one in sample.findings(rows))

    assert "because entries are missing; the same goes for 3 checkpoints after it" in told(
        delete_without_a_trace
    )
    lost = told(delete_all_values_of_a_request)
    assert f"this value is missing, and so are 5 more of request {CLOSED}; no erasure explains that" in lost
    assert "cause_id is NULL in its column" in told(change_a_column("cause_id", None))
    assert "its index is below 0, as one of request 'x'" in told(add(Table.ENTRY, -1, "x", 1, "", b""))


def delete_without_a_trace(rows: Logbook, key: Ed25519PrivateKey) -> None:
    rows.delete("default", REFUSAL, Table.ENTRY, Table.TREE)


def delete_all_values_of_a_request(rows: Logbook, key: Ed25519PrivateKey) -> None:
    for _, index, approval_id, *_ in rows.of(Table.ENTRY, "default"):
        if approval_id == CLOSED and isinstance(index, int):
            rows.delete("default", index, Table.DISCLOSURE)
