"""What `placet audit verify` says of what it found: nothing more than it knows, and what to do next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_cli.home import Home
from placet_cli.verifying import Table
from placet_proof import COSIGNATURE, Checkpoint
from placet_proof.growing import Frontier
from placet_proof.signing import cosigned, signed, verifier_key
from placet_testing.logbook import ORIGIN, Logbook
from placet_testing.tampering import SampleLog

NAME = f"{ORIGIN}/default"
NOTHING = Logbook({table: [] for table in Table})
SEEN = 1_700_000_000


def verify(home: Home, *arguments: str, status: int) -> str:
    """What the command prints, on both streams, its lines joined."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    finished = subprocess.run(
        [sys.executable, "-m", "placet_cli.main", "audit", "verify", *arguments],
        env=outside | {"NO_COLOR": "1", "COLUMNS": "400", "PLACET_HOME": str(home.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if "--json" in arguments else subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == status, finished.stdout
    assert "Traceback" not in finished.stdout
    return finished.stdout


def keep(folder: Path, sample: SampleLog, size: int, time: int = SEEN) -> None:
    """What a witness keeps of the default log: its checkpoint of `size` entries, cosigned."""
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
