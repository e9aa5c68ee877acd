"""Programs end with a sentence for the operator when they cannot run, and list their settings."""

from __future__ import annotations

import asyncio
import sys

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from placet_rpc.errors import DataLoss
from placet_rpc.program import REFUSED, run_program
from placet_rpc.settings import CallerSettings


class Settings(CallerSettings):
    model_config = SettingsConfigDict(env_prefix="PLACET_TRIAL_", frozen=True)

    interval: float = Field(default=10, gt=0)
    """Seconds between runs."""


class Telemetry:
    """Counts its ends."""

    def __init__(self) -> None:
        self.ended = 0

    def shutdown(self) -> None:
        self.ended += 1


class Explained(Exception):
    """An error that the program knows."""


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trial"])


def run(error: Exception | None) -> tuple[int, Telemetry]:
    async def work(settings: Settings) -> None:
        if error is not None:
            raise error

    telemetry = Telemetry()
    status = run_program(
        "the trial", Settings, work, telemetry=lambda: telemetry, about="A trial.", explained=(Explained,)
    )
    return status, telemetry


def test_a_program_that_ends_well_has_status_0() -> None:
    status, telemetry = run(None)
    assert (status, telemetry.ended) == (0, 1)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("no space left"), 1),
        (FileNotFoundError("no such file"), REFUSED),
        (PermissionError("not yours"), REFUSED),
        (ValueError("the key is broken"), REFUSED),
        (DataLoss("the log is not whole"), 1),
        (Explained("the database is away"), 1),
        (ExceptionGroup("parts", [ExceptionGroup("inner", [OSError("no space left")])]), 1),
        (ExceptionGroup("parts", [ExceptionGroup("inner", [ValueError("no space left")])]), REFUSED),
    ],
)
def test_an_error_at_start_is_one_sentence_and_a_status_that_says_if_it_may_pass(
    error: Exception, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    status, telemetry = run(error)

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    inner = "no space left" if isinstance(error, ExceptionGroup) else str(error)
    assert record.getMessage() == f"the trial cannot run: {inner}"
    assert record.exc_info is None
    assert (status, telemetry.ended) == (expected, 1)


def test_a_mistake_of_ours_is_raised_with_its_stack() -> None:
    with pytest.raises((KeyError, ExceptionGroup)):
        run(KeyError("a mistake"))


def test_wrong_settings_are_named_by_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLACET_TRIAL_INTERVAL", "0")
    monkeypatch.setenv("PLACET_TLS_CLIENT_KEY_FILE", "key.pem")

    status, _ = run(None)

    assert status == REFUSED
    assert "PLACET_TRIAL_INTERVAL: must be greater than 0" in caplog.text
    assert "pydantic" not in caplog.text


def test_a_wrong_log_level_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def telemetry() -> Telemetry:
        raise ValueError("PLACET_LOG_LEVEL is LOUD")

    status = run_program("the trial", Settings, lambda _: asyncio.sleep(0), telemetry=telemetry, about="")
    assert status == REFUSED
    assert capsys.readouterr().err == "the trial cannot run: PLACET_LOG_LEVEL is LOUD\n"


def test_the_help_lists_every_setting_with_its_default_and_meaning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trial", "--help"])

    with pytest.raises(SystemExit) as ended:
        run(None)

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "A trial." in shown
    assert "PLACET_TRIAL_INTERVAL [10]\n      Seconds between runs." in shown
    assert "PLACET_TLS_CA_FILE\n      PEM file" in shown
