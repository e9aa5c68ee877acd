"""Errors about the log's key: they name where it was looked for, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import SecretStr

from placet_audit.config import Settings
from placet_proof.signer import new_key
from placet_rpc.program import REFUSED
from placet_testing.attestation import write_keys


def key_file(folder: Path, content: str) -> Path:
    """A file that its owner alone may read."""
    path = folder / "log.pem"
    path.write_text(content)
    path.chmod(0o600)
    return path


def public_half() -> str:
    """A public key in PEM."""
    key = load_pem_private_key(new_key().encode(), password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_key_in_a_file_is_read(tmp_path: Path) -> None:
    assert (
        len(
            Settings(
                log_key_file=key_file(tmp_path, new_key()),
                attestation_keys_file=write_keys(tmp_path)[1],
            )
            .log_keys()
            .private
        )
        == 1
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "must be a private Ed25519 key in PEM"),
        ("no key", "must be a private Ed25519 key in PEM"),
        (public_half(), "only the public half"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
    ],
    ids=["empty", "words", "public", "broken"],
)
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: str, why: str) -> None:
    path = key_file(tmp_path, content)
    with pytest.raises(ValueError, match=why) as caught:
        Settings(log_key_file=path).log_keys()
    assert str(caught.value).startswith(f"{path}: ")
    if content:
        with pytest.raises(ValueError, match=r"^PLACET_AUDIT_LOG_KEY: "):
            Settings(log_key=SecretStr(content)).log_keys()


def program(folder: Path, *arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
    """`python -m placet_audit` in a folder that holds nothing, with no settings."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    return subprocess.run(
        [sys.executable, "-m", "placet_audit", *arguments],
        cwd=folder,
        env=outside | told,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.integration
def test_without_a_key_the_program_says_what_to_do(tmp_path: Path) -> None:
    finished = program(tmp_path)
    assert finished.returncode == REFUSED
    assert "Errno" not in finished.stderr
    for told in (".placet/keys/log.pem does not exist", "openssl genpkey", "PLACET_AUDIT_LOG_KEY_FILE"):
        assert told in finished.stderr


@pytest.mark.integration
def test_its_help_says_what_the_program_is(tmp_path: Path) -> None:
    finished = program(tmp_path, "--help")
    assert finished.returncode == 0
    assert "Wiring" not in finished.stdout
    assert "PLACET_AUDIT_LOG_KEY_FILE" in finished.stdout


@pytest.mark.integration
def test_wrong_settings_are_told_by_variable_and_in_plain_words(tmp_path: Path) -> None:
    finished = program(tmp_path, PLACET_AUDIT_TAIL_POLL="0", PLACET_TLS_KEY_FILE="key.pem")
    assert finished.returncode == REFUSED
    assert "PLACET_AUDIT_TAIL_POLL: must be greater than 0" in finished.stderr
    assert "pydantic" not in finished.stderr
