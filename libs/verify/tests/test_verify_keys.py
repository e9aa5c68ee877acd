"""Keys that a log is verified with: the home's, given ones, and those that signed before."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from placet_cli.home import Home
from placet_proof import COSIGNATURE, VerifierKey
from placet_proof.signer import new_key, verifier_key
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.attestation import KEYS
from placet_testing.audit_server import AuditServer
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ALICE, ORIGIN, REFUSING, Writer, event
from placet_verify import Check, Finding, KnownKeys, SqliteSource, Table, Verification, progress

pytestmark = pytest.mark.integration

# The keys of people's commands, to which each test adds those of the log.
ATTESTING = KnownKeys(named=KEYS)


def public_half(pem: str) -> str:
    key = load_pem_private_key(pem.encode(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def vkey(pem: str, tenant: str = "default") -> str:
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return str(verifier_key(key, f"{ORIGIN}/{tenant}"))


def verified(home: Home, keys: KnownKeys, tenant: str = "default") -> tuple[list[Finding], Mapping[str, int]]:
    """Findings on a log, and the unknown keys that signed it too."""
    with closing(SqliteSource(home.database("audit"))) as source:
        verification = Verification(source, keys, tenant=tenant)
        assert list(verification.run())
        return list(verification.findings), verification.logs[0].also_signed


def findings(home: Home, keys: KnownKeys, tenant: str = "default") -> list[Finding]:
    return verified(home, keys, tenant)[0]


async def append(home: Home, log_key: str, cause: str) -> None:
    """Lets a service with these keys write an entry."""
    keys = KeyFiles.below(home.keys)
    server = AuditServer(home.path / "data", keys, log_key=log_key)
    await server.start()
    try:
        refused = {"method": REFUSING, "reason": "ROLE_REQUIRED"}
        await Writer(server.address, keys).append(
            "default", "", 0, event(f"approval/{cause}", ALICE, access_refused=refused)
        )
    finally:
        await server.stop()


async def test_a_key_takes_over_from_another_without_a_break(sample: SampleLog, tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    old, new = sample.home.log_key.read_text(), new_key()
    await append(home, new + old, "handed-over")
    await append(home, new + public_half(old), "by-the-new-one")
    both = ATTESTING.with_pem(new + public_half(old))
    assert findings(home, both) == []
    # Who knows one only can tell which checkpoints are whose: the one that was handed over is of both.
    by_old = {one.checkpoint for one in findings(home, sample.keys) if one.check is Check.SIGNATURE}
    by_new = {
        one.checkpoint for one in findings(home, ATTESTING.with_pem(new)) if one.check is Check.SIGNATURE
    }
    assert by_old == {14}
    assert by_new == {1, 2, 5, 6, 7, 8, 9, 12}
    with closing(SqliteSource(home.database("audit"))) as source:
        (note,) = [row[1] for row in source.rows(Table.CHECKPOINT, "default") if row[0] == 13]
    assert str(note).count("—") == 2


async def test_a_hand_over_is_no_alarm_for_who_knows_the_old_key_only(
    sample: SampleLog, tmp_path: Path
) -> None:
    home = Home.at(tmp_path / "home")
    shutil.copytree(sample.home.path, home.path)
    old, new = sample.home.log_key.read_text(), new_key()
    for cause in ("handed-over", "handed-over-still"):
        await append(home, new + old, cause)
    assert verified(home, sample.keys) == (
        [],
        {f"{ORIGIN}/default+{VerifierKey.parse(vkey(new)).id.hex()}": 13},
    )
    assert verified(home, ATTESTING.with_pem(new + old)) == ([], {})
    # What the new key alone signed, who knows the old one cannot verify.
    await append(home, new + public_half(old), "by-the-new-one")
    found, _ = verified(home, sample.keys)
    assert {(one.check, one.checkpoint) for one in found} == {(Check.SIGNATURE, 15), (Check.COVERAGE, None)}


@pytest.mark.parametrize("how", ["vkey", "vkey file", "private PEM file", "public PEM file"])
def test_a_key_is_taken_in_each_of_its_forms(sample: SampleLog, tmp_path: Path, how: str) -> None:
    pem, path = sample.home.log_key.read_text(), tmp_path / "key"
    forms = {
        "vkey": vkey(pem),
        "vkey file": f"\n{vkey(pem, 'other')}\n{vkey(pem)}\n",
        "private PEM file": pem,
        "public PEM file": public_half(pem),
    }
    path.write_text(forms[how])
    keys = ATTESTING.with_given(forms[how] if how == "vkey" else str(path))
    assert keys.any
    assert findings(sample.home, keys) == []
    assert bool(findings(sample.home, keys, "other")) is (how == "vkey")


def test_a_log_by_another_name_is_another_log(sample: SampleLog) -> None:
    keys = replace(ATTESTING, origin="example.com/other").with_pem(sample.home.log_key.read_text())
    assert {one.check for one in findings(sample.home, keys)} == {Check.SIGNATURE, Check.COVERAGE}


def test_what_is_no_key_is_refused(sample: SampleLog, tmp_path: Path) -> None:
    path = tmp_path / "key"
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    good = vkey(sample.home.log_key.read_text())
    for text in (
        "",
        "no key",
        good[:-2],
        curve.decode(),
        "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----",
    ):
        path.write_text(text)
        with pytest.raises(ValueError):
            KnownKeys().with_given(str(path))
    with pytest.raises(ValueError, match="was altered"):
        KnownKeys().with_given(good.replace("default", "detault"))
    with pytest.raises(OSError):
        KnownKeys().with_given(str(tmp_path / "nothing"))


def test_whose_log_an_origin_is_is_known_where_a_key_is() -> None:
    private = Ed25519PrivateKey.generate()
    witness = verifier_key(private, "witness.example/w", COSIGNATURE)
    named = KnownKeys(named=(verifier_key(private, "a.example/b/home"), witness))
    assert named.tenant_of("a.example/b/home") == "home"
    assert named.tenant_of("a.example/b/other") is None
    assert named.of("home") == [named.named[0]]
    assert named.of_receipt("home") == [named.named[0], witness]
    below = KnownKeys("a.example/b", public=(bytes(32),))
    assert below.tenant_of("a.example/b/other") == "other"
    assert below.tenant_of("a.example/c/other") is None


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone_and_cleared_in_the_end(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(progress, "FIRST", 0)
    with progress.Progress() as one:
        one.show("1 of 2")
        one.show("2 of 2")  # too soon to be seen
    assert shown.getvalue() == ("\r\x1b[K1 of 2\r\x1b[K" if terminal else "")
