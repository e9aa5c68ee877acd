"""Findings of the witness are told where the stack runs, and by `placet doctor`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from placet_cli.home import Home, Ports
from placet_devstack.alarms import WitnessAlarms
from placet_devstack.child import StackEvent
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.secrets import make_keys
from placet_devstack.state import write_state
from placet_witness.domain import Alarm, Kind
from placet_witness.status import Status
from placet_witness.store import Folder

pytestmark = pytest.mark.integration

PORTS = Ports(28_400)
BEFORE = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose stack is this process, which is its own witness."""
    home = Home.at(tmp_path / "a home")
    home.prepare()
    make_keys(home)
    home.ready("witness").touch()
    write_state(home, PORTS.base, {"witness": os.getpid()})
    return home


def say(home: Home, kind: Kind | None = None, looked: datetime | None = None) -> None:
    """Writes down how a witness stands."""
    alarm = None if kind is None else Alarm(kind, BEFORE, "the log had 3 entries")
    with Folder.held(home.witness) as folder:
        folder.write_status(Status(10.0, "log.test", 3, looked or datetime.now(UTC), BEFORE, alarm))


async def doctor_on(home: Home) -> Finding:
    """Doctor's findings on the witness."""
    (found,) = (finding for finding in await diagnose(home, PORTS) if finding.what == "witness")
    return found


async def test_doctor_says_what_the_witness_says_and_what_to_type_then(home: Home) -> None:
    missing = await doctor_on(home)
    assert (missing.ok, "nothing down" in missing.found) == (False, True)
    say(home)
    assert await doctor_on(home) == Finding("witness", True, f"pid {os.getpid()}")
    say(home, Kind.SILENCE)
    assert (await doctor_on(home)).advice == f"tail '{home.log('witness')}'"
    say(home, Kind.ROLLBACK)
    found = await doctor_on(home)
    assert not found.ok
    assert "says: ROLLBACK since 2026-03-01T00:00:00+00:00: the log had 3 entries" in found.found
    assert found.advice == f"placet audit verify --witness '{home.witness}'"


async def test_doctor_finds_a_witness_that_does_not_look_any_more(home: Home) -> None:
    say(home, looked=BEFORE)
    found = await doctor_on(home)
    assert not found.ok
    assert "has not looked at the log since 2026-03-01" in found.found


async def test_doctor_says_of_a_witness_that_cannot_run_why(home: Home) -> None:
    write_state(home, PORTS.base, {})
    found = await doctor_on(home)
    assert (found.ok, found.advice) == (False, f"tail '{home.log('witness')}'")
    assert "does not run: its log says nothing" in found.found
    home.log("witness").write_text("a line before\nthe witness cannot run: others can write to it\n")
    found = await doctor_on(home)
    assert "does not run: the witness cannot run: others can write to it" in found.found
    # It is looked at while it is tried again.
    home.ready("witness").unlink()
    write_state(home, PORTS.base, {"witness": os.getpid()})
    assert "is not ready yet" in (await doctor_on(home)).found


@pytest.mark.parametrize("key", ["witness_key", "log_key", "payload_key"])
async def test_doctor_finds_a_key_that_others_can_read(home: Home, key: str) -> None:
    path: Path = getattr(home, key)
    os.chmod(path, 0o640)
    (found,) = (finding for finding in await diagnose(home, PORTS) if finding.what == "keys")
    assert not found.ok
    assert str(path) in found.advice


def public_half(home: Home) -> bytes:
    """The log's public key alone, in PEM."""
    key = load_pem_private_key(home.log_key.read_bytes(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff\xfe", "public"])
async def test_doctor_finds_a_file_that_holds_no_key_to_sign_the_log_with(
    home: Home, content: bytes | str
) -> None:
    async def keys() -> Finding:
        (found,) = (finding for finding in await diagnose(home, PORTS) if finding.what == "keys")
        return found

    assert "log.pem can sign the log" in (await keys()).found
    home.log_key.write_bytes(content if isinstance(content, bytes) else public_half(home))
    found = await keys()
    assert not found.ok
    assert found.found.startswith(f"{home.log_key}: ")


async def test_an_alarm_is_told_when_it_begins_and_when_it_is_over(
    home: Home,
) -> None:
    events: list[StackEvent] = []
    # What a stack that ran before left behind is no news.
    say(home, Kind.SILENCE, looked=BEFORE)
    alarms = WitnessAlarms(home, events.append)
    await alarms.check()
    assert not events
    say(home, Kind.BAD_SIGNATURE)
    await alarms.check()
    say(home, Kind.FORK)
    await alarms.check()
    say(home)
    await alarms.check()
    await alarms.check()
    assert events == [
        StackEvent("witness", "ALARM", "BAD_SIGNATURE: the log had 3 entries", bad=True),
        StackEvent("witness", "ALARM", "FORK: the log had 3 entries", bad=True),
        StackEvent("witness", "alarm over", "FORK"),
    ]


async def test_what_no_answer_can_mend_is_told_at_each_start(home: Home) -> None:
    events: list[StackEvent] = []
    say(home, Kind.ROLLBACK, looked=BEFORE)
    await WitnessAlarms(home, events.append).check()
    assert [event.bad for event in events] == [True]
