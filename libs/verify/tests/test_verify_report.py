"""Report of `placet audit verify`: nothing more than was found, and what to do next."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_cli.home import Home
from placet_proof import COSIGNATURE, Checkpoint
from placet_proof.frontier import Frontier
from placet_proof.signer import cosigned, signed, verifier_key
from placet_testing.attestation import KEYS
from placet_testing.command import placet
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ORIGIN, Logbook
from placet_verify import Table
from placet_witness.domain import Alarm, Kind
from placet_witness.status import Status
from placet_witness.store import Folder

pytestmark = pytest.mark.integration

NAME = f"{ORIGIN}/default"
NOTHING = Logbook({table: [] for table in Table})
SEEN = 1_700_000_000


def verify(home: Home, *arguments: str, status: int) -> str:
    """Output of the command, on both streams."""
    finished = placet("audit", "verify", *arguments, home=home.path, env={"NO_COLOR": "1", "COLUMNS": "400"})
    said = finished.stdout if "--json" in arguments else finished.stdout + finished.stderr
    assert finished.returncode == status, said
    return said


def keep(folder: Path, sample: SampleLog, size: int, time: int = SEEN) -> None:
    """Lets a witness keep a checkpoint of the default log: that of `size` entries, cosigned."""
    witness, name = Ed25519PrivateKey.generate(), "witness.example/w"
    folder.mkdir(exist_ok=True)
    (folder / "witness.vkey").write_text(f"{verifier_key(witness, name, COSIGNATURE)}\n")
    note = str(sample.rows.tables[Table.CHECKPOINT][sample.rows.find(Table.CHECKPOINT, "default", size)][2])
    line = cosigned(note.partition("\n\n")[0] + "\n", witness, name, time)
    (folder / f"{NAME}.checkpoint".replace("/", "_")).write_text(note + line)


@pytest.fixture
def home(sample: SampleLog, tmp_path: Path) -> Home:
    """A home with the sample's log, to be changed."""
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    return home


def test_an_emptied_log_is_not_proven(sample: SampleLog, home: Home, tmp_path: Path) -> None:
    NOTHING.write(home.database("audit"))
    for arguments in ((), ("--database", f"sqlite:///{home.database('audit')}")):
        told = verify(home, *arguments, status=1)
        assert "! Nothing is proven: there is no entry and no checkpoint of any log in this database" in told
        assert "A log begins with its first request" in told
        assert "If there were requests before, then their entries are gone" in told
    answer = json.loads(verify(home, "--json", status=1))
    assert (answer["proven"], answer["witnessed"], answer["logs"]) == (False, False, [])
    assert answer["why"].startswith("there is no entry")
    keep(tmp_path / "witness", sample, 12)
    witness = ("--witness", str(tmp_path / "witness"))
    assert "✗ default: 0 entries" in verify(home, *witness, status=1)
    told = verify(home, *witness, "--tenant", "other", status=1)
    assert "! Nothing is proven: there is no log of other" in told


def test_a_log_that_is_not_there_is_not_proven(home: Home) -> None:
    told = verify(home, "--tenant", "nobody", status=1)
    assert "! Nothing is proven: there is no log of nobody" in told
    assert "without --tenant" in told
    assert json.loads(verify(home, "--tenant", "nobody", "--json", status=1))["proven"] is False
    # What cannot be read may hold it.
    home.database("audit").write_bytes(b"no database")
    assert "there is no log" not in verify(home, "--tenant", "nobody", status=1)


def test_an_export_of_an_empty_log_proves_nothing_though_it_is_signed(
    sample: SampleLog, home: Home, tmp_path: Path
) -> None:
    text, path = Checkpoint(NAME, 0, Frontier().root()).text, tmp_path / "log.jsonl"
    note = f"{text}\n{signed(text, sample.stolen_key, NAME)}"
    path.write_text(json.dumps({"checkpoint": note}) + "\n")
    told = verify(home, "--export", str(path), status=1)
    assert "! Nothing is proven: this export is of a log without entries" in told
    told = verify(home, "--export", str(path), "--tenant", "other", status=1)
    assert "! Nothing is proven: there is no log of other in this export" in told


def say(folder: Path, kind: Kind | None, *, ago: timedelta = timedelta(), origin: str = NAME) -> None:
    """Lets a witness write down how it stands, as it looked so long ago."""
    looked = datetime.now(UTC) - ago
    alarm = None if kind is None else Alarm(kind, looked, "the log had 3 entries")
    with Folder.held(folder) as held:
        held.write_status(Status(10.0, origin, 12, looked, looked, alarm))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("given", [False, True])
def test_an_alarm_that_is_on_is_a_finding(sample: SampleLog, home: Home, kind: Kind, given: bool) -> None:
    keep(home.witness, sample, 12)
    arguments = ("--witness", str(home.witness)) if given else ()
    say(home.witness, None)
    verify(home, *arguments, status=0)
    say(home.witness, kind)
    told = verify(home, *arguments, status=1)
    assert "✗ default: 12 entries" in told
    assert f"default: the witness alarms {kind} since " in told
    assert "the log had 3 entries" in told
    verify(home, *arguments, "--tenant", "other", status=0)


def test_an_alarm_before_the_first_checkpoint_is_a_finding_too(sample: SampleLog, home: Home) -> None:
    keep(home.witness, sample, 12)
    say(home.witness, Kind.BAD_SIGNATURE, origin="")
    assert "the witness alarms BAD_SIGNATURE" in verify(home, status=1)


def test_a_silence_is_over_when_the_witness_does_not_listen_any_more(sample: SampleLog, home: Home) -> None:
    keep(home.witness, sample, 12)
    say(home.witness, Kind.SILENCE, ago=timedelta(minutes=1))
    verify(home, status=0)
    say(home.witness, Kind.BAD_SIGNATURE, ago=timedelta(minutes=1))
    verify(home, status=1)


def test_an_alarm_that_was_written_down_too_is_told_once(sample: SampleLog, home: Home) -> None:
    keep(home.witness, sample, 12)
    say(home.witness, Kind.FORK)
    alarm = json.loads((home.witness / "status.json").read_text())["alarm"]
    note = (home.witness / f"{NAME}.checkpoint".replace("/", "_")).read_text()
    (home.witness / f"{NAME}.alarm".replace("/", "_")).write_text(json.dumps(alarm | {"note": note}))
    assert verify(home, status=1).count("FORK") == 1


def test_it_is_said_when_the_witness_last_saw_the_log_and_warned_where_that_is_long_ago(
    sample: SampleLog, home: Home
) -> None:
    keep(home.witness, sample, 12)
    told = verify(home, "--tenant", "default", status=0)
    assert "a witness saw 12 of them, last at 2023-11-14 22:13:20 UTC" in told
    assert "! No witness has seen the log of default for " in told
    assert "`placet doctor` says whether it runs." in told
    told = verify(home, "--witness", str(home.witness), status=0)
    assert "Does it run still" in told
    # An idle log is signed once, and looked at again and again.
    say(home.witness, None)
    told = verify(home, "--tenant", "default", status=0)
    assert f"a witness saw 12 of them, last at {datetime.now(UTC):%Y-%m-%d}" in told
    assert "No witness has seen" not in told
    say(home.witness, None, ago=timedelta(hours=5))
    told = verify(home, "--tenant", "default", status=0)
    assert "! No witness has seen the log of default for 5 h: what was written since" in told
    answer = json.loads(verify(home, "--json", status=0))
    seen = {log["tenant"]: log["lastSeenByWitness"] for log in answer["logs"]}
    assert seen["other"] is None
    assert datetime.now(UTC) - datetime.fromisoformat(seen["default"]) > timedelta(hours=4)


def test_no_log_is_all_good_in_a_file_that_is_not(home: Home) -> None:
    path = home.database("audit")
    raw = bytearray(path.read_bytes())
    # The room that each page leaves free: SQLite then finds every page of another size.
    raw[20] ^= 1
    path.write_bytes(raw)
    told = verify(home, status=1)
    assert "SQLite's own check says" in told or "cannot" in told
    assert "✓" not in told
    assert "all good" not in told
    assert all(len(line) < 600 for line in told.splitlines())


def test_a_finding_about_no_log_is_not_hidden_behind_a_good_one(sample: SampleLog, home: Home) -> None:
    keep(home.witness, sample, 12)
    (home.witness / "x.alarm").write_text("{")
    told = verify(home, status=1)
    assert "✗ default: 12 entries" in told
    assert "no finding of its own, but see below" in told
    assert "✓" not in told


def test_entries_that_are_missing_are_one_finding_and_counted(sample: SampleLog, home: Home) -> None:
    rows = sample.rows.copied()
    for index in (2, 3, 4, 8):
        rows.delete("default", index, Table.ENTRY)
    rows.write(home.database("audit"))
    told = verify(home, "--tenant", "default", status=1)
    assert "✗ default: 8 of 12 entries, 8 checkpoints, " in told
    assert "default, entries 2 to 4: they are missing\n" in told
    assert "default, entry 8: it is missing\n" in told
    (log,) = json.loads(verify(home, "--tenant", "default", "--json", status=1))["logs"]
    assert (log["entries"], log["missing"]) == (12, 4)


def test_a_table_that_cannot_be_read_is_told_in_the_headline(home: Home) -> None:
    path = home.database("audit")
    with closing(sqlite3.connect(path)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()
    raw = bytearray(path.read_bytes())
    raw[size * (page - 1) : size * page] = bytes(size)
    path.write_bytes(raw)
    told = verify(home, "--tenant", "default", status=1)
    assert "✗ default: 0 of 12 entries, and not all of it can be read, 2 findings" in told
    assert "default, entries 0 to 11: they are missing" in told


def test_a_witness_that_saw_more_than_there_is_did_not_see_it_of_them(sample: SampleLog, home: Home) -> None:
    keep(home.witness, sample, 12)
    rows = sample.rows.copied()
    rows.cut("default", 9, *Table)
    rows.write(home.database("audit"))
    assert "1 finding; a witness saw 12, last at" in verify(home, status=1)


@pytest.fixture
def another_key() -> str:
    """A verifier key by the log's own name, which signed nothing of it."""
    return str(verifier_key(Ed25519PrivateKey.generate(), NAME))


def test_where_no_known_key_signed_it_is_said_what_to_do(
    sample: SampleLog, home: Home, another_key: str
) -> None:
    keep(home.witness, sample, 12)
    default = ("--tenant", "default")
    told = verify(home, *default, "--origin", "foo", status=1)
    assert f"A known key signed it by the name of {NAME}, and not of foo/default." in told
    assert f"say so: --origin {ORIGIN}\n" in told
    assert verify(home, "--origin", "foo", status=1).count("say so") == 1
    told = verify(home, *default, "--key", another_key, status=1)
    assert f"no known key signed this checkpoint; it was signed by {NAME}+" in told
    assert "If the log's key was changed, ask its operator for the new one" in told
    key = str(verifier_key(Ed25519PrivateKey.generate(), "example.com/default"))
    told = verify(home, *default, "--key", key, status=1)
    assert f"It is a checkpoint of the log {NAME}, and the known key is one of example.com/default" in told
    key = str(verifier_key(sample.stolen_key, f"{ORIGIN}/other"))
    told = verify(home, *default, "--key", key, status=1)
    assert f"No known key is one of the log {NAME}" in told


def test_where_no_known_key_signed_nothing_is_said_of_witnesses(
    sample: SampleLog, home: Home, another_key: str
) -> None:
    keep(home.witness, sample, 12)
    for wrong in (("--origin", "foo"), ("--key", another_key)):
        told = verify(home, "--tenant", "default", *wrong, status=1)
        assert "no witness saw" not in told
        assert "Compared with" not in told


def test_it_is_said_whose_key_was_used(sample: SampleLog, home: Home) -> None:
    told = verify(home, "--tenant", "default", status=0)
    assert f"Verified with the key of this home, {home.log_key}.\n" in told
    key = ("--key", str(verifier_key(sample.stolen_key, NAME)), "--key", str(KEYS[0]))
    told = verify(home, "--tenant", "default", *key, status=0)
    assert "Verified with the keys that you gave.\n" in told
    told = verify(home, "--tenant", "default", *key[:2], status=1)
    assert "Verified with the key that you gave.\n" in told
    assert "Give the keys of people's commands too" in told
    assert json.loads(verify(home, "--json", status=0))["keysFrom"] == "home"
    assert json.loads(verify(home, "--tenant", "default", "--json", *key, status=0))["keysFrom"] == "given"


def export_of(rows: Logbook, path: Path) -> tuple[str, str]:
    """The options to verify an export of the default log."""
    notes = {row[1]: row[2] for row in rows.of(Table.CHECKPOINT, "default")}
    lines: list[dict[str, object]] = [{"checkpoint": notes[max(notes, key=lambda size: int(str(size)))]}]
    for _, index, *_, leaf in rows.of(Table.ENTRY, "default"):
        disclosures = [
            {"path": at, "salt": encoded(salt), "value": str(value, "utf-8")}  # type: ignore[call-overload]  # bytes
            for _, of, at, salt, value in rows.of(Table.DISCLOSURE, "default")
            if of == index
        ]
        entry = {"index": str(index), "leaf": encoded(leaf), "disclosures": disclosures}
        note = notes.get(int(str(index)) + 1)
        lines.append(entry | ({"checkpoint": note} if note else {}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "--export", str(path)


def encoded(raw: object) -> str:
    assert isinstance(raw, bytes)
    return base64.b64encode(raw).decode()


def test_an_export_from_before_the_witness_looked_is_told_apart_from_a_changed_one(
    sample: SampleLog, home: Home, tmp_path: Path
) -> None:
    keep(tmp_path / "witness", sample, 12)
    witness = ("--witness", str(tmp_path / "witness"))
    verify(home, *export_of(sample.rows, tmp_path / "log"), *witness, status=0)
    rows = sample.rows.copied()
    rows.cut("default", 9, *Table)
    export = export_of(rows, tmp_path / "log")
    told = verify(home, *export, *witness, status=1)
    assert "! default: 9 entries, root " in told
    assert "whole as far as it goes, but not proven to be all" in told
    assert "copy the witness's folder first, then export" in told
    answer = json.loads(verify(home, *export, *witness, "--json", status=1))
    assert (answer["proven"], answer["logs"][0]["olderThanWitness"]) == (False, True)
    rows.set(Table.DISCLOSURE, rows.find(Table.DISCLOSURE, "default", 8), value=b"another")
    told = verify(home, *export_of(rows, tmp_path / "log"), *witness, status=1)
    assert "✗ default: 9 entries" in told
    assert "whole as far" not in told
    assert "then export" not in told


def test_an_export_of_nothing_is_not_excused_as_older(sample: SampleLog, home: Home, tmp_path: Path) -> None:
    keep(tmp_path / "witness", sample, 12)
    text, path = Checkpoint(NAME, 0, Frontier().root()).text, tmp_path / "log.jsonl"
    path.write_text(json.dumps({"checkpoint": f"{text}\n{signed(text, sample.stolen_key, NAME)}"}) + "\n")
    told = verify(home, "--export", str(path), "--witness", str(tmp_path / "witness"), status=1)
    assert "✗ default: 0 entries" in told
