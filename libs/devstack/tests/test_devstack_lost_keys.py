"""A key that is gone, though what was made with it is there, is told, and no new one takes its place."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from placet_cli.home import Home, Ports
from placet_cli.problems import Problem
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.lifecycle import running_stack
from placet_devstack.lost_keys import lost_keys
from placet_devstack.plan import StackOptions
from placet_devstack.secrets import make_keys
from placet_testing.command import placet as run_placet
from placet_testing.sample_home import SampleLog

pytestmark = pytest.mark.integration

PORTS = Ports(28_800)


def placet(home: Home, *arguments: str) -> str:
    """Output of a command that fails."""
    finished = run_placet(*arguments, home=home.path, env={"NO_COLOR": "1", "COLUMNS": "400"})
    assert finished.returncode == 1, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def steps(said: str) -> list[str]:
    """The next commands that a user is told, without what each is for."""
    told = said.partition("Try:")[2] or said
    return [line.strip().partition("  (")[0] for line in told.splitlines()]


def test_the_public_keys_of_attestations_stay_when_the_private_one_is_made_anew(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    first = home.attestation_keys.read_text()
    make_keys(home)
    assert home.attestation_keys.read_text() == first
    home.attestation_key.unlink()
    make_keys(home)
    second = home.attestation_keys.read_text()
    assert second.endswith(first)
    assert len(set(second.splitlines())) == 2
    # Nothing was logged yet: from the private key alone.
    home.attestation_keys.unlink()
    make_keys(home)
    assert home.attestation_keys.read_text() == second.removesuffix(first)


async def test_lost_public_keys_of_attestations_are_not_replaced(home: Home) -> None:
    kept = home.attestation_keys.read_text()
    home.attestation_keys.unlink()
    problem = await refused(home)
    assert problem.what.startswith(f"{home.attestation_keys} is gone")
    assert not home.attestation_keys.exists()
    home.attestation_keys.write_text(kept)
    assert not lost_keys(home)


@pytest.fixture
def home(sample: SampleLog, tmp_path: Path) -> Home:
    """A home with the sample's log."""
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    return home


async def keys(home: Home) -> Finding:
    """Doctor's findings on the keys."""
    (found,) = (finding for finding in await diagnose(home, PORTS) if finding.what == "keys")
    return found


async def refused(home: Home) -> Problem:
    """Why the stack does not start."""
    with pytest.raises(Problem) as caught:
        async with running_stack(
            home, PORTS, StackOptions(), report=lambda _event: None, plan=lambda *_parts: ()
        ):
            pass
    return caught.value


async def test_no_new_key_is_made_over_a_log_that_another_signed(home: Home) -> None:
    kept = home.log_key.read_text()
    home.log_key.unlink()
    problem = await refused(home)
    assert "log.pem is gone" in problem.what
    assert "holds a log" in problem.what
    assert f"put {home.log_key} back" in problem.tries[0]
    assert not home.log_key.exists()
    found = await keys(home)
    assert (found.ok, found.advice) == (False, problem.tries[0])
    home.log_key.write_text(kept)
    home.log_key.chmod(0o600)
    make_keys(home)
    assert home.log_key.read_text() == kept


@pytest.mark.parametrize("lost", ["the log's key", "all keys"])
@pytest.mark.parametrize("arguments", [("audit", "verify"), ("audit", "checkpoint"), ("doctor",), ("list",)])
def test_a_command_proposes_no_start_that_would_be_refused(
    home: Home, arguments: tuple[str, ...], lost: str
) -> None:
    home.log_key.unlink() if lost == "the log's key" else shutil.rmtree(home.keys)
    said = placet(home, *arguments, "--port-base", str(PORTS.base))
    assert f"put {home.log_key} back" in said
    assert not any(step.startswith("placet up") and "--home" not in step for step in steps(said)), said


async def test_a_log_that_cannot_be_read_is_one_all_the_same(home: Home) -> None:
    home.log_key.unlink()
    home.database("audit").write_bytes(b"no database" * 1000)
    assert "log.pem is gone" in (await refused(home)).what


@pytest.mark.parametrize("audit", ["none", "empty", "without entries"])
def test_a_home_without_a_signed_log_gets_a_key(tmp_path: Path, audit: str) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    tables = {"without entries": ("entry", "checkpoint")}
    if audit != "none":
        with closing(sqlite3.connect(home.database("audit"))) as connection:
            for table in tables.get(audit, ()):
                connection.execute(f"CREATE TABLE {table} (tenant)")
            connection.commit()
    make_keys(home)
    assert home.log_key.exists()


def test_entries_that_only_the_write_ahead_log_holds_count(home: Home) -> None:
    home.log_key.unlink()
    with closing(sqlite3.connect(home.database("audit"), isolation_level=None)) as connection:
        for table in ("entry", "checkpoint"):
            rows = connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
            assert rows
            for (trigger,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {trigger}")
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(f"DELETE FROM {table}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not lost_keys(home)
        connection.execute("INSERT INTO checkpoint VALUES ('default', 1, '')")
        assert [one.path for one in lost_keys(home)] == [home.log_key]


async def test_no_new_key_is_made_over_what_waits_encrypted(home: Home) -> None:
    home.payload_key.unlink()
    home.database("temporal").touch()
    problem = await refused(home)
    assert "payload.key is gone" in problem.what
    assert not home.payload_key.exists()
    assert (await keys(home)).advice == problem.tries[0]


async def test_a_witness_that_cosigned_gets_no_new_key_and_holds_up_nothing(home: Home) -> None:
    home.witness_key.unlink()
    home.witness.mkdir()
    (home.witness / "localhost_placet_default.checkpoint").touch()
    make_keys(home)
    assert not home.witness_key.exists()
    found = await keys(home)
    assert (found.ok, "witness.pem is gone" in found.found) == (False, True)
    assert str(home.witness_key) in found.advice
