"""The witness as a process, in front of a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from placet.audit.v1 import audit_service_pb2_grpc
from placet_proof import Note, VerifierKey
from placet_rpc.client import channel
from placet_rpc.program import REFUSED
from placet_testing.tokens import StaticToken
from placet_witness.__main__ import assembled
from placet_witness.audit_log import AuditLog
from placet_witness.config import Settings
from placet_witness.domain import Kind, NoAnswer
from placet_witness.keys import as_lines
from placet_witness.status import Status, read_status

pytestmark = pytest.mark.integration

# Types of conftest, which tests cannot import by name.
FakeLog = Any

SOON = 60.0


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    """Returns the environment with the same settings."""
    return {
        "PATH": os.environ["PATH"],
        "PLACET_AUDIT_ADDRESS": settings.audit_address,
        "PLACET_TOKEN_FILE": str(settings.token_file),
        "PLACET_READY_FILE": str(settings.ready_file),
        "PLACET_WITNESS_FOLDER": str(settings.folder),
        "PLACET_WITNESS_KEY_FILE": str(settings.key_file),
        "PLACET_WITNESS_TRUST_ON_FIRST_USE": "true",
        "PLACET_WITNESS_INTERVAL": str(settings.interval),
        **changes,
    }


@asynccontextmanager
async def process(settings: Settings, **changes: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m placet_witness`; killed at the end, if it still runs."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "placet_witness",
        env=environment(settings, **changes),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def ended(running: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Waits for its end; returns the exit status and the errors."""
    _, errors = await asyncio.wait_for(running.communicate(), SOON)
    return running.returncode, errors.decode()


async def standing(settings: Settings, is_so: Callable[[Status], object]) -> Status:
    """Waits for a status and returns it."""
    async with asyncio.timeout(SOON):
        while True:
            status = read_status(settings.folder)
            if status is not None and is_so(status):
                return status
            await asyncio.sleep(0.02)


def is_ready(settings: Settings) -> bool:
    """Tells whether it has looked."""
    return settings.ready_file is not None and settings.ready_file.exists()


async def test_a_witness_follows_the_log_of_its_tenant_and_ends_cleanly(
    settings: Settings, log: FakeLog
) -> None:
    async with process(settings) as running:
        await standing(settings, lambda status: status.size == 3)
        log.grow(4)
        await standing(settings, lambda status: status.size == 7)
        await standing(settings, lambda _: is_ready(settings))
        assert log.callers == {("witness", "default")}
        running.send_signal(signal.SIGTERM)
        status, said = await ended(running)
    assert status == 0
    assert "Traceback" not in said
    keys = [
        VerifierKey.parse((settings.folder / name).read_text())
        for name in ("witness.vkey", "placet.test_default.keys")
    ]
    note = Note.parse((settings.folder / "placet.test_default.checkpoint").read_text())
    assert set(note.verified(keys)) == set(keys)


async def test_a_log_that_stops_answering_is_an_alarm_and_one_that_answers_again_ends_it(
    settings: Settings, log: FakeLog
) -> None:
    # Where the machine stalls, the alarm comes before a look is over, and tells what was known before.
    reasons = {
        "hanging": ("it does not answer in time", "it was not asked yet"),
        "refusing": ("UNAVAILABLE: it is away", "it does not answer in time", "it was not asked yet"),
    }
    async with process(settings) as running:
        await standing(settings, lambda status: status.size == 3)
        for silence, whys in reasons.items():
            setattr(log, silence, True)
            alarmed = await standing(settings, lambda status: status.alarm)
            assert alarmed.alarm is not None
            assert alarmed.alarm.kind is Kind.SILENCE
            assert alarmed.alarm.since == alarmed.last_success
            assert alarmed.alarm.why in whys
            setattr(log, silence, False)
            await standing(settings, lambda status: status.alarm is None)
        running.send_signal(signal.SIGTERM)
        status, said = await ended(running)
    assert status == 0
    # A busy machine may be silent of itself.
    assert said.count("SILENCE begins") == said.count("SILENCE ends") >= 2


async def test_a_rollback_is_found_and_stands_after_a_kill(settings: Settings, log: FakeLog) -> None:
    async with process(settings) as running:
        await standing(settings, lambda status: status.size == 3)
        log.roll_back(1)
        await standing(settings, lambda status: status.alarm is not None and status.alarm.kind.final)
        running.kill()
        _, said = await ended(running)
        assert said.count("ROLLBACK begins: the log had 3 entries and now says that it has 1") == 1
    log.grow(9)
    assert settings.ready_file is not None
    settings.ready_file.unlink()
    async with process(settings) as running:
        status = await standing(settings, lambda _: is_ready(settings))
        assert status.alarm is not None
        assert (status.size, status.alarm.kind) == (3, Kind.ROLLBACK)
        running.send_signal(signal.SIGTERM)
        _, said = await ended(running)
    assert said.count("ROLLBACK found before") == 1


async def test_a_token_that_is_refused_is_no_answer_and_says_so(settings: Settings) -> None:
    async with channel(settings.audit_address, StaticToken("nonsense"), default_timeout=SOON) as opened:
        log = AuditLog(audit_service_pb2_grpc.AuditServiceStub(opened), "default")
        with pytest.raises(NoAnswer, match="TOKEN_INVALID: "):
            await log.checkpoint()
        with pytest.raises(NoAnswer, match="TOKEN_INVALID: "):
            await log.consistency(1, 2)


async def test_a_second_witness_on_the_same_folder_is_refused(settings: Settings) -> None:
    async with assembled(settings), process(settings) as running:
        status, said = await ended(running)
    assert status == 1
    assert "another witness runs on" in said
    assert "Traceback" not in said


async def test_a_witness_that_cannot_start_says_why_without_a_stack_trace(
    settings: Settings, tmp_path: Path
) -> None:
    strangers = tmp_path / "log-keys"
    strangers.write_text(as_lines([]))
    for changes, why in (
        ({"PLACET_WITNESS_TRUST_ON_FIRST_USE": "false"}, "PLACET_WITNESS_LOG_KEYS_FILE"),
        ({"PLACET_WITNESS_LOG_KEYS_FILE": str(strangers)}, "must hold verifier keys"),
        ({"PLACET_WITNESS_NAME": "my witness"}, "cannot name a key"),
        ({"PLACET_WITNESS_INTERVAL": "0"}, "greater than 0"),
    ):
        async with process(settings, **changes) as running:
            status, said = await ended(running)
        assert status == REFUSED
        assert why in said
        assert "Traceback" not in said
    settings.key_file.chmod(0o644)
    async with process(settings) as running:
        status, said = await ended(running)
    assert status == REFUSED
    assert "chmod 600" in said


async def test_keys_in_a_file_count_alone(settings: Settings, log: FakeLog, tmp_path: Path) -> None:
    known = tmp_path / "log-keys"
    known.write_text(as_lines([log.vkey()]))
    told = settings.model_copy(update={"log_keys_file": known})
    assert told.trust().keys == (log.vkey(),)
    assert not told.trust().learns
    assert settings.trust().learns


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PLACET_WITNESS_TRUST_ON_FIRST_USE", "false", "must know the log's keys"),
        ("PLACET_WITNESS_INTERVAL", "0", "PLACET_WITNESS_INTERVAL: must be greater than 0"),
        ("PLACET_WITNESS_KEY_FILE", "/no/such/key.pem", "/no/such/key.pem does not exist: put back"),
    ],
)
async def test_what_is_wrong_with_its_settings_is_told_in_plain_words(
    settings: Settings, variable: str, value: str, said: str
) -> None:
    async with process(settings, **{variable: value}) as running:
        status, errors = await ended(running)
    assert status == REFUSED
    assert said in errors
    assert "pydantic" not in errors
    assert "Errno" not in errors
    assert "Value error" not in errors


async def test_its_help_teaches_each_of_its_own_variables() -> None:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "placet_witness", "--help"),
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await asyncio.wait_for(running.communicate(), SOON)
    assert running.returncode == 0
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"PLACET_WITNESS_{name.upper()}")
        assert variable.startswith("PLACET_TLS_") or f"  {variable}" in told.decode()
