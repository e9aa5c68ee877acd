"""What a home's own witness keeps: compared by default, its alarms told, and another home's told as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_cli.home import Home, Ports
from placet_devstack.doctor import diagnose
from placet_proof import COSIGNATURE
from placet_proof.signer import cosigned, signed, verifier_key
from placet_testing.command import placet
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ORIGIN
from placet_verify import Table

pytestmark = pytest.mark.integration

NAME = f"{ORIGIN}/default"
SIZE = 12


def verify(home: Home, *arguments: str, status: int) -> tuple[str, str]:
    """What the command prints: its answer, and what stands beside it."""
    finished = placet("audit", "verify", *arguments, home=home.path, env={"NO_COLOR": "1", "COLUMNS": "400"})
    assert finished.returncode == status, finished.stdout + finished.stderr
    return finished.stdout, finished.stderr


@pytest.fixture
def home(sample: SampleLog, tmp_path: Path) -> Home:
    """A home with the sample's log and a witness that saw all of its default log."""
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    home.witness.mkdir()
    keep(home, note_of(sample))
    return home


def note_of(sample: SampleLog) -> str:
    """What the default log signed last."""
    return str(sample.rows.tables[Table.CHECKPOINT][sample.rows.find(Table.CHECKPOINT, "default", SIZE)][2])


def keep(home: Home, note: str) -> None:
    """Lets the home's witness keep this checkpoint."""
    witness, name = Ed25519PrivateKey.generate(), "witness.example/w"
    (home.witness / "witness.vkey").write_text(f"{verifier_key(witness, name, COSIGNATURE)}\n")
    line = cosigned(note.partition("\n\n")[0] + "\n", witness, name, 1_700_000_000)
    (home.witness / f"{NAME}.checkpoint".replace("/", "_")).write_text(note + line)


def accuse(home: Home, note: str) -> None:
    """Lets the home's witness write down a rollback for good."""
    fields = {"kind": "ROLLBACK", "since": "2026-03-01T00:00:00+00:00", "why": "it had 15", "note": note}
    (home.witness / f"{NAME}.alarm".replace("/", "_")).write_text(json.dumps(fields))


def of_another_key(note: str, root: bytes | None = None) -> str:
    """The same checkpoint, or one of another root, as the log of another home signed it."""
    text, key = note.partition("\n\n")[0] + "\n", Ed25519PrivateKey.generate()
    if root is not None:
        text = f"{NAME}\n{SIZE + 3}\n{root.decode()}\n"
    return f"{text}\n{signed(text, key, NAME)}"


def test_the_homes_own_witness_is_used_for_its_own_log_and_said(sample: SampleLog, home: Home) -> None:
    told, beside = verify(home, status=0)
    assert "all good; a witness saw 12 of them" in told
    assert "this home's own witness" in beside
    database = f"sqlite:///{home.database('audit')}"
    told, beside = verify(home, "--database", database, status=0)
    assert "Not excluded without --witness" in told
    assert "own witness" not in beside
    rows = sample.rows.copied()
    rows.cut("default", 9, *Table)
    rows.write(home.database("audit"))
    assert "a witness saw 12 entries" in verify(home, status=1)[0]


def test_a_home_whose_own_witness_cannot_be_read_is_not_a_wrong_command_line(home: Home) -> None:
    (home.witness / "witness.vkey").write_text("no key")
    assert "what this home's own witness keeps cannot be read" in verify(home, status=1)[1]


def test_an_alarm_that_the_witness_wrote_down_is_a_finding(sample: SampleLog, home: Home) -> None:
    accuse(home, note_of(sample))
    told, _ = verify(home, status=1)
    assert "✗ default: 12 entries" in told
    assert "default: the witness recorded ROLLBACK since 2026-03-01T00:00:00+00:00: it had 15" in told
    assert "no known key" not in told
    verify(home, "--tenant", "other", status=0)
    accuse(home, of_another_key(note_of(sample)))
    assert "no known key of this log signed" in verify(home, status=1)[0]
    (home.witness / f"{NAME}.alarm".replace("/", "_")).write_text("{")
    assert "is not an alarm that can be read" in verify(home, status=1)[0]


def test_another_homes_witness_is_told_as_such_and_not_as_a_rollback(sample: SampleLog, home: Home) -> None:
    keep(home, of_another_key(note_of(sample), b"A" * 43 + b"="))
    told, _ = verify(home, status=1)
    assert "no known key of this log signed" in told
    assert "and there are 12" not in told
    assert "no witness saw any of them" in told


@pytest.mark.parametrize("written", ["alarm", "status"])
async def test_doctor_tells_a_recorded_alarm_though_nothing_runs(
    sample: SampleLog, home: Home, written: str
) -> None:
    ports = Ports(28_700)
    assert all(one.ok is not False for one in await diagnose(home, ports))
    if written == "alarm":
        accuse(home, note_of(sample))
    else:
        alarm = {"kind": "FORK", "since": "2026-03-01T00:00:00+00:00", "why": "it had 15"}
        fields = {"origin": NAME, "size": 12, "last_look": None, "last_success": None, "alarm": alarm}
        (home.witness / "status.json").write_text(json.dumps(fields | {"interval_seconds": 10}))
    (found,) = (one for one in await diagnose(home, ports) if one.ok is False)
    assert "since 2026-03-01T00:00:00+00:00: it had 15" in found.found
    assert found.advice == f"placet audit verify --witness {home.witness}"
