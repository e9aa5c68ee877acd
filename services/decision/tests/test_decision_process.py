"""DecisionService as a process, and its settings."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from placet_decision.__main__ import api_key_of, provider_of
from placet_decision.api_key import ApiKeyFile
from placet_decision.config import Settings
from placet_decision.token_budget import TokenStore
from placet_rpc.client import serving
from placet_rpc.tokens.mint import generate_keys

OPENAI_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PLACET_OPENAI_API_KEY",
    "PLACET_OPENAI_API_KEY_FILE",
    "PLACET_OPENAI_BASE_URL",
    "PLACET_DECISION_PROVIDER",
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPENAI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_key_rules_judge() -> None:
    assert Settings().chosen_provider == "embedded"


@pytest.mark.parametrize("name", OPENAI_VARIABLES[:5])
async def test_a_key_or_an_address_makes_a_model_judge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token_store: TokenStore, name: str
) -> None:
    (tmp_path / "key").write_text("sk-secret-1\n")
    monkeypatch.setenv(name, str(tmp_path / "key") if name.endswith("_FILE") else "http://127.0.0.1:1/v1")
    settings = Settings()
    assert settings.chosen_provider == "openai"
    provider = provider_of(settings, token_store)
    assert (provider.name, provider.deep_available) == ("openai", True)
    await provider.close()


def test_placets_own_variable_goes_before_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("PLACET_OPENAI_API_KEY", "own")
    key = Settings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "own"


def test_the_key_in_a_file_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  in-file\n")
    monkeypatch.setenv("PLACET_OPENAI_API_KEY", "in-variable")
    monkeypatch.setenv("PLACET_OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    assert api_key_of(Settings())() == "in-file"


def test_a_new_key_in_the_file_is_used_at_once_and_a_bad_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text("sk-secret-1")
    file.chmod(0o600)
    key = ApiKeyFile(file)
    assert key() == "sk-secret-1"
    file.write_text("sk-secret-2\n")
    assert key() == "sk-secret-2"
    assert caplog.text == ""
    for bad in ("", "sk-secret-3\r\nX-Evil: yes", "sk-secret-ß"):
        file.write_text(bad)
        assert key() == "sk-secret-2"
    file.unlink()
    assert key() == "sk-secret-2"
    assert "read before" in caplog.text
    assert "sk-secret" not in caplog.text


def test_a_key_that_others_may_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    file.write_text("sk-secret-1")
    file.chmod(0o644)
    ApiKeyFile(file)
    assert "chmod 600" in caplog.text
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("content", [None, "", "two words"])
def test_a_file_without_a_key_is_an_error_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    monkeypatch.setenv("PLACET_OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises((OSError, ValueError), match="key"):
        api_key_of(Settings())


def test_rules_can_be_chosen_although_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("PLACET_DECISION_PROVIDER", "embedded")
    assert Settings().chosen_provider == "embedded"


def test_a_model_without_key_and_address_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_DECISION_PROVIDER", "openai")
    with pytest.raises(ValidationError, match="PLACET_OPENAI_API_KEY"):
        Settings()


def test_the_key_is_not_in_what_settings_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_OPENAI_API_KEY", "sk-secret-1")
    assert "sk-secret-1" not in repr(Settings())


@pytest.mark.integration
@pytest.mark.parametrize("with_model", ["", "PLACET_OPENAI_API_KEY", "PLACET_OPENAI_API_KEY_FILE"])
async def test_the_process_serves_and_stops_on_sigterm(
    tmp_path: Path, unused_tcp_port: int, with_model: str
) -> None:
    keys = generate_keys(tmp_path / "keys")
    address = f"127.0.0.1:{unused_tcp_port}"
    environment = {
        **os.environ,
        "PLACET_DECISION_LISTEN": address,
        "PLACET_DECISION_DATABASE_URL": f"sqlite:///{tmp_path / 'decision.db'}",
        "PLACET_JWKS_FILE": str(keys.jwks),
        "PLACET_TOKEN_FILE": str(tmp_path / "token"),
    }
    if with_model:
        (tmp_path / "key").write_text("sk-secret-1")
        environment[with_model] = str(tmp_path / "key") if with_model.endswith("_FILE") else "sk-secret-1"
        environment["PLACET_LOG_LEVEL"] = "debug"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_decision", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while not await serving(address, "placet.decision.v1.DecisionService"):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, logged = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, logged.decode()
    assert ("openai" if with_model else "embedded") in logged.decode()
    assert b"sk-secret-1" not in logged
    assert b"Traceback" not in logged
