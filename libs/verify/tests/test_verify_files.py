"""Real files, as `placet audit verify` reads them: changed, damaged, beside what a witness keeps."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_cli.home import Home
from placet_proof import COSIGNATURE
from placet_proof.signer import cosigned, signed, verifier_key
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.audit_server import AuditServer
from placet_testing.command import placet
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ORIGIN, Logbook, Writer, write_sample
from placet_verify import SqliteSource, Table, Verification
from placet_verify.postgresql import PostgresqlSource

pytestmark = pytest.mark.integration


def verify(home: Home, *arguments: str, status: int) -> str:
    """Output of the command."""
    finished = placet("audit", "verify", *arguments, home=home.path, env={"NO_COLOR": "1", "COLUMNS": "200"})
    assert finished.returncode == status, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture
def home(sample: SampleLog, tmp_path: Path) -> Home:
    """A home with the sample's log, to be changed."""
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    return home


def bytes_of(rows: Logbook, table: Table, place: int) -> bytes:
    """Bytes of a row that are nowhere else in the file: of a value, its salt."""
    value = rows.tables[table][rows.find(table, "default", place)][3 if table is Table.DISCLOSURE else -1]
    return value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]  # bytes


@pytest.mark.parametrize(
    ("table", "place", "named"),
    [
        (Table.ENTRY, 9, "default, entry 9: "),
        (Table.DISCLOSURE, 9, "default, entry 9, event."),
        (Table.TREE, 9, "default, entry 9: "),
        (Table.CHECKPOINT, 9, "default, checkpoint 9: "),
    ],
)
def test_one_edited_byte_is_named_by_the_command(
    sample: SampleLog, home: Home, table: Table, place: int, named: str
) -> None:
    path, sought = home.database("audit"), bytes_of(sample.rows, table, place)
    raw = bytearray(path.read_bytes())
    assert raw.count(sought) == 1
    raw[raw.index(sought) + len(sought) // 2] ^= 1
    path.write_bytes(raw)
    told = verify(home, status=1)
    assert named in told
    assert "✗ default: 12 entries" in told
    assert "✓ other: 2 entries" in told


@pytest.mark.usefixtures("unchanged_parts_remembered")
def test_any_edited_byte_of_the_file_is_found_unless_it_says_nothing(
    sample: SampleLog, tmp_path: Path
) -> None:
    """Pages hold room that is not used, and numbers that SQLite only counts for itself."""
    whole, path = sample.home.database("audit").read_bytes(), tmp_path / "audit.db"
    chosen, found = random.Random(23), 0
    for _ in range(400):
        raw = bytearray(whole)
        raw[chosen.randrange(len(raw))] ^= 1 << chosen.randrange(8)
        path.write_bytes(raw)
        with closing(SqliteSource(path)) as source:
            if sample.findings(source):
                found += 1
                continue
        assert Logbook.read(path) == sample.rows
    assert found > 40


def test_the_command_says_what_is_not_excluded_and_leaves_no_trace(home: Home) -> None:
    before = sorted(path.name for path in home.path.rglob("*"))
    assert "Not excluded without --witness" in verify(home, status=0)
    assert sorted(path.name for path in home.path.rglob("*")) == before


def test_findings_are_told_up_to_a_number_and_the_rest_is_counted(sample: SampleLog, home: Home) -> None:
    rows = sample.rows.copied()
    for at in range(len(rows.tables[Table.ENTRY])):
        rows.set(Table.ENTRY, at, cause_id=f"x{at}")
    rows.write(home.database("audit"))
    told = verify(home, "--most", "3", status=1)
    assert "✗ default: 12 entries" in told
    assert "12 findings" in told
    assert "… and 32 more: --most 35" in told
    answer = json.loads(verify(home, "--most", "3", "--json", status=1))
    assert (answer["proven"], len(answer["findings"]), answer["findingsLeftOut"]) == (False, 3, 32)
    first = answer["findings"][0]
    assert (first["check"], first["tenant"], first["firstEntry"]) == ("columns", "default", 0)


def test_what_is_said_of_many_checkpoints_is_told_in_one_line_and_counted(home: Home) -> None:
    strange = str(verifier_key(Ed25519PrivateKey.generate(), f"{ORIGIN}/default"))
    told = verify(home, "--key", strange, "--tenant", "default", "--most", "1", status=1)
    assert told.count("no known key") == 1
    assert (
        "default, checkpoint 1 and 7 more up to 12: no known key signed this checkpoint; it was signed by "
        in told
    )
    # Nor is a key of attestations given.
    assert "… and 3 more: --most 11" in told


def overwritten(at: int, with_bytes: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[at : at + len(with_bytes)] = with_bytes
        path.write_bytes(raw)

    return damage


def without_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE tree")


def with_changed_types(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute('UPDATE entry SET leaf = CAST(leaf AS TEXT) WHERE "index" = 3')
        connection.execute("UPDATE entry SET number = 'seven', cause_id = x'ff' WHERE \"index\" = 4")
        connection.execute('UPDATE tree SET roots = 5 WHERE "index" = 5')
        connection.execute("UPDATE checkpoint SET note = x'00' WHERE size = 9")
        connection.execute("UPDATE disclosure SET salt = 'x' WHERE \"index\" = 9")
        connection.execute("UPDATE disclosure SET path = x'00' WHERE \"index\" = 7 AND path LIKE '%reason'")
        connection.execute("UPDATE disclosure SET tenant = x'00' WHERE tenant = 'other'")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no SQLite file": overwritten(0, b"not a database" * 10_000),
    "an empty file": lambda path: os.truncate(path, 0),
    "half a file": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a page of nothing": overwritten(4096 * 3, bytes(4096)),
    "a page of anything": overwritten(4096 * 5, random.Random(1).randbytes(4096)),
    "another header": overwritten(16, b"\xff\xff"),
    "a table less": without_table,
    "other types": with_changed_types,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_read_is_a_finding(home: Home, damage: str) -> None:
    DAMAGES[damage](home.database("audit"))
    assert ": " in verify(home, status=1)
    assert json.loads(verify(home, "--json", status=1))["findings"]


def test_every_column_of_another_type_is_named(home: Home) -> None:
    with_changed_types(home.database("audit"))
    told = verify(home, "--most", "100", status=1)
    for place in ("default, entry 3: its leaf is not bytes", "default, entry 4: number is 'seven'"):
        assert place in told
    assert "default, entry 5: its row of table tree is not bytes" in told
    assert "default, checkpoint 9: its note is not text" in told
    assert "a value's columns are not text and bytes" in told
    assert "there are rows of a tenant b'\\x00', which is no text" in told


def test_a_service_that_opens_the_file_meanwhile_is_noticed(home: Home) -> None:
    with closing(SqliteSource(home.database("audit"))) as source:
        assert not source.overtaken
        with closing(sqlite3.connect(home.database("audit"))) as service:
            service.execute("DROP TRIGGER entry_is_never_updated")
            assert source.overtaken


def keep(folder: Path, sample: SampleLog, size: int) -> None:
    """Checkpoint that a witness keeps of the sample's log: that of `size` entries, cosigned."""
    witness, name = Ed25519PrivateKey.generate(), "witness.example/w"
    folder.mkdir()
    (folder / "witness.vkey").write_text(f"{verifier_key(witness, name, COSIGNATURE)}\n")
    note = str(sample.rows.tables[Table.CHECKPOINT][sample.rows.find(Table.CHECKPOINT, "default", size)][2])
    text = note.partition("\n\n")[0] + "\n"
    line = cosigned(text, witness, name, 1_700_000_000)
    (folder / f"{ORIGIN}/default.checkpoint".replace("/", "_")).write_text(note + line)


def test_a_log_that_was_put_back_with_its_checkpoints_is_found_by_what_a_witness_keeps(
    sample: SampleLog, home: Home, tmp_path: Path
) -> None:
    keep(tmp_path / "witness", sample, 12)
    witness = ("--witness", str(tmp_path / "witness"))
    told = verify(home, *witness, status=0)
    assert "all good; a witness saw 12 of them" in told
    assert "all good; no witness saw any of them" in told
    assert "Not excluded of eventful and other, which no witness saw: " in told
    told = verify(home, *witness, "--tenant", "default", status=0)
    assert "Not excluded" not in told
    rows = sample.rows.copied()
    rows.cut("default", 9, *Table)
    rows.write(home.database("audit"))
    assert "✓ default: 9 entries" in verify(home, status=0)
    told = verify(home, *witness, status=1)
    assert (
        "default, checkpoint 12: a witness saw 12 entries at 2023-11-14 22:13:20 UTC, and there are 9" in told
    )
    for table in Table:
        rows.tables[table] = []
    rows.write(home.database("audit"))
    assert verify(home, status=1).startswith("! Nothing is proven: ")
    assert "and there are 0" in verify(home, *witness, status=1)


def test_a_witness_that_saw_nothing_is_none(sample: SampleLog, home: Home, tmp_path: Path) -> None:
    def witnessed(*arguments: str) -> tuple[bool, dict[str, bool]]:
        answer = json.loads(verify(home, "--json", *arguments, status=0))
        return answer["witnessed"], {log["tenant"]: log["witnessed"] for log in answer["logs"]}

    folder = tmp_path / "witness"
    keep(folder, sample, 12)
    witness = ("--witness", str(folder))
    assert witnessed() == (False, dict.fromkeys(("default", "eventful", "other"), False))
    assert witnessed(*witness) == (False, {"default": True, "eventful": False, "other": False})
    assert witnessed(*witness, "--tenant", "default") == (True, {"default": True})
    for kept in folder.glob("*.checkpoint"):
        kept.unlink()
    assert witnessed(*witness) == (False, dict.fromkeys(("default", "eventful", "other"), False))
    assert "Not excluded of default, eventful and other, which no witness saw" in verify(
        home, *witness, status=0
    )


def test_a_signature_of_an_unknown_key_is_told_beside_a_good_one(sample: SampleLog, home: Home) -> None:
    rows, name = sample.rows.copied(), f"{ORIGIN}/default"
    at = rows.find(Table.CHECKPOINT, "default", 9)
    note, key = str(rows.tables[Table.CHECKPOINT][at][2]), Ed25519PrivateKey.generate()
    rows.set(Table.CHECKPOINT, at, note=note + signed(note.partition("\n\n")[0] + "\n", key, name))
    rows.write(home.database("audit"))
    strange = f"{name}+{verifier_key(key, name).id.hex()}"
    told = " ".join(verify(home, status=0).split())
    assert f"also signed by an unknown key, {strange}, from checkpoint 9 on: a hand-over?" in told
    answer = json.loads(verify(home, "--json", status=0))
    assert answer["logs"][0]["alsoSignedBy"] == [{"key": strange, "fromCheckpoint": 9}]


def test_what_the_witness_did_not_sign_is_a_finding(sample: SampleLog, home: Home, tmp_path: Path) -> None:
    keep(tmp_path / "witness", sample, 12)
    (kept,) = (tmp_path / "witness").glob("*.checkpoint")
    kept.write_text(kept.read_text().replace("\n12\n", "\n11\n"))
    told = verify(home, "--witness", str(tmp_path / "witness"), status=1)
    assert "localhost_placet_default.checkpoint is not what the witness signed" in told


@pytest.mark.parametrize("raw", [b"\x81\x82 no database", b"{}\n", b"[1]\n", b"\x81\n"], ids=repr)
@pytest.mark.parametrize("kind", ["database", "export"])
def test_a_file_that_is_no_log_is_told_with_a_mark_and_in_words(
    home: Home, tmp_path: Path, kind: str, raw: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    given = f"sqlite:///{path}" if kind == "database" else str(path)
    told = verify(home, f"--{kind}", given, status=1)
    assert told.startswith("✗ No log could be verified\n")
    assert not any(word in told for word in ("codec", "Expecting", "Error", "indices", "object is"))


async def test_a_log_in_postgresql_is_verified_and_a_changed_one_is_found(
    postgres_url: str, sample: SampleLog, tmp_path: Path
) -> None:
    import psycopg

    server = AuditServer(
        tmp_path, KeyFiles.below(sample.home.keys), postgres_url, log_key=sample.home.log_key.read_text()
    )
    await server.start()
    try:
        await write_sample(Writer(server.address, KeyFiles.below(sample.home.keys)))
        with closing(PostgresqlSource(postgres_url)) as source:
            verification = Verification(source, sample.keys)
            assert list(verification.run())
            entries = {log.tenant: log.entries for log in verification.logs}
            assert entries == {"default": 12, "eventful": 21, "other": 2}
            assert list(verification.findings) == []
    finally:
        await server.stop()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE entry DISABLE TRIGGER ALL")
        connection.execute("UPDATE entry SET cause_id = 'x' WHERE tenant = 'default' AND index = 9")
        connection.execute("DELETE FROM disclosure WHERE tenant = 'default' AND index = 5")
    # As AuditService's own configuration may name it.
    with_driver = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    assert with_driver != postgres_url
    told = verify(sample.home, "--database", with_driver, status=1)
    assert told == verify(sample.home, "--database", postgres_url, status=1)
    assert "default, entry 9: cause_id is 'x' in its column" in told
    assert "default, entry 5, event.actor.name: this value is missing" in told
