"""Keys stay private, tokens are verified strictly, and holders get fresh ones in time."""

from __future__ import annotations

import itertools
import json
import os
import stat
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from placet_rpc.errors import Unauthenticated
from placet_rpc.identity import normalize_address
from placet_rpc.tokens.mint import (
    KeyFiles,
    MintingTokenSource,
    SigningKey,
    generate_keys,
    mint,
    write_token,
)
from placet_rpc.tokens.sources import FileTokenSource
from placet_rpc.tokens.verify import Verifier, decode, key_set
from placet_testing.tokens import revoke


class Clock:
    """A clock in the test's hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own(tmp_path: Path) -> tuple[KeyFiles, SigningKey]:
    files = generate_keys(tmp_path / "keys")
    return files, SigningKey.load(files.private_key)


def test_only_the_owner_can_read_the_private_key(own: Any) -> None:
    files, _ = own

    assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.private_key.parent.stat().st_mode) == 0o700


def test_the_jwks_holds_no_private_half(own: Any) -> None:
    files, _ = own

    entries = json.loads(files.jwks.read_text())["keys"]

    assert [sorted(entry) for entry in entries] == [["alg", "crv", "kid", "kty", "use", "x"]]


def test_a_signing_key_in_use_is_never_overwritten(own: Any) -> None:
    files, _ = own

    with pytest.raises(FileExistsError):
        generate_keys(files.private_key.parent)


@pytest.mark.parametrize("step", [1, 2])
def test_keys_that_were_made_by_halves_are_made_again_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    steps, replace = itertools.count(1), os.replace

    def replace_or_die(source: str, target: Path) -> None:
        if next(steps) == step:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_or_die)
        with pytest.raises(KeyboardInterrupt):
            generate_keys(tmp_path)
    files = KeyFiles.below(tmp_path)
    assert not files.private_key.exists()

    generate_keys(tmp_path)

    token = mint(SigningKey.load(files.private_key), "svc", "default", ["requester"], 60)
    assert Verifier(files.jwks).verify(token).subject == "svc"


def test_a_signing_key_that_others_can_read_is_refused(own: Any) -> None:
    files, _ = own
    files.private_key.chmod(0o644)

    with pytest.raises(ValueError, match="chmod 600"):
        SigningKey.load(files.private_key)


def test_a_public_key_cannot_sign(own: Any, tmp_path: Path) -> None:
    files, _ = own
    public = tmp_path / "public.json"
    public.touch(mode=0o600)
    public.write_text(json.dumps(json.loads(files.jwks.read_text())["keys"][0]))

    with pytest.raises(ValueError, match="private Ed25519"):
        SigningKey.load(public)


def test_a_token_tells_who_it_is_of(own: Any) -> None:
    files, key = own

    principal = Verifier(files.jwks).verify(mint(key, "bob@example.com", "acme", ["approver"], 60))

    assert principal.subject == "bob@example.com"
    assert principal.tenant == "acme"
    assert principal.roles == frozenset({"approver"})
    assert principal.authenticated_by == "jwt:placet-embedded"


@pytest.mark.parametrize(
    ("written", "subject"),
    [
        ("Alice@Example.COM", "alice@example.com"),
        (" alice@example.com\t", "alice@example.com"),
        ("Billing-EU", "Billing-EU"),
        ("BÜCHER", "BÜCHER"),
    ],
)
def test_a_person_is_one_however_their_address_is_written(own: Any, written: str, subject: str) -> None:
    files, key = own

    token = mint(key, written, "default", ["requester"], 60)

    assert Verifier(files.jwks).verify(token).subject == subject


@pytest.mark.parametrize(
    "written",
    [
        # The Kelvin sign, whose small letter is k.
        "\u212aim@example.com",
        "kim@example.com\u00a0",
        # Cyrillic.
        "\u0430lice@example.com",
    ],
)
def test_nobody_becomes_another_person_by_letters_beyond_ascii(own: Any, written: str) -> None:
    files, key = own

    with pytest.raises(Unauthenticated):
        Verifier(files.jwks).verify(mint(key, written, "default", ["approver"], 60))
    assert normalize_address(written) == written


def test_a_token_is_refused_from_the_second_of_its_expiry_even_when_cached(own: Any) -> None:
    files, key = own
    clock, ticks = Clock(), Clock()
    verifier = Verifier(files.jwks, clock=clock, ticks=ticks)
    token = mint(key, "svc", "default", ["requester"], 10, now=clock.now)
    verifier.verify(token)

    clock.now += 9.9
    verifier.verify(token)
    clock.now += 0.1

    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(token)


def test_a_verified_token_is_checked_again_after_thirty_seconds(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, key = own
    clock, ticks = Clock(), Clock()
    verifier = Verifier(files.jwks, cache_seconds=3600, clock=clock, ticks=ticks)
    checks: list[str] = []
    check = verifier._check

    def counted(token: str, now: float) -> Any:
        checks.append(token)
        return check(token, now)

    monkeypatch.setattr(verifier, "_check", counted)
    token = mint(key, "svc", "default", ["requester"], 3600, now=clock.now)

    for seconds in (0, 29.9, 0.2, 1):
        ticks.now += seconds
        verifier.verify(token)

    assert len(checks) == 2


def test_a_revoked_token_is_refused_at_once_although_it_was_cached(own: Any) -> None:
    files, key = own
    verifier = Verifier(files.jwks)
    token, other = (mint(key, "svc", "default", ["requester"], 60) for _ in range(2))
    verifier.verify(token)

    revoke(files.jwks, token)

    with pytest.raises(Unauthenticated, match="revoked"):
        verifier.verify(token)
    assert verifier.verify(other).subject == "svc"


def test_revocations_are_forgotten_when_the_token_would_have_expired(own: Any) -> None:
    files, key = own
    revoke(files.jwks, mint(key, "svc", "default", [], 60, now=time.time() - 3600))
    revoke(files.jwks, mint(key, "svc", "default", [], 60))

    assert len(json.loads(files.jwks.read_text())["revoked"]) == 1


def test_a_token_of_other_keys_cannot_be_revoked_here(own: Any, tmp_path: Path) -> None:
    files, _ = own
    other = SigningKey.load(generate_keys(tmp_path / "other").private_key)

    with pytest.raises(ValueError, match="not signed"):
        revoke(files.jwks, mint(other, "svc", "default", [], 60))


def test_replaced_keys_are_taken_up_and_old_tokens_refused(own: Any, tmp_path: Path) -> None:
    files, key = own
    verifier = Verifier(files.jwks)
    old = mint(key, "svc", "default", [], 60)
    verifier.verify(old)

    fresh = generate_keys(tmp_path / "fresh")
    fresh.jwks.replace(files.jwks)

    with pytest.raises(Unauthenticated):
        verifier.verify(old)
    assert verifier.verify(mint(SigningKey.load(fresh.private_key), "svc", "default", [], 60))


def test_a_jwks_that_is_broken_for_a_moment_changes_nothing(own: Any) -> None:
    files, key = own
    verifier = Verifier(files.jwks)

    files.jwks.write_text("{")

    assert verifier.verify(mint(key, "svc", "default", [], 60)).subject == "svc"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
def test_a_verifier_does_not_start_without_a_usable_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text)

    with pytest.raises(ValueError):
        Verifier(path)


def test_a_token_file_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = FileTokenSource(path)
    write_token(path, "first")
    assert source.token() == "first"

    write_token(path, "second")

    assert source.token() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_token_is_used_while_its_file_is_away(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_token(path, "first")
    source = FileTokenSource(path)
    source.token()

    path.unlink()

    assert source.token() == "first"


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_a_missing_or_empty_token_file_is_a_clear_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)

    with pytest.raises(Unauthenticated, match="there is no token in"):
        FileTokenSource(path).token()


def test_a_minting_source_renews_when_a_third_of_the_life_is_left(own: Any) -> None:
    _, key = own
    clock = Clock()
    source = MintingTokenSource(key, "svc", "default", ["requester"], 90, clock=clock)

    first = source.token()
    clock.now += 59.9
    assert source.token() == first
    clock.now += 0.1

    assert source.token() != first


def test_a_tenant_that_is_no_name_is_never_minted(own: Any) -> None:
    _, key = own

    with pytest.raises(ValueError, match="tenant"):
        mint(key, "svc", "a b", [], 60)


@pytest.mark.parametrize("published", ["Ed25519", "EdDSA", None])
@pytest.mark.parametrize("named", ["Ed25519", "EdDSA"])
def test_the_algorithm_may_have_either_of_its_names(own: Any, named: str, published: str | None) -> None:
    files, key = own
    document = json.loads(files.jwks.read_text())
    for entry in document["keys"]:
        entry.pop("alg")
        entry |= {"alg": published} if published else {}
    files.jwks.write_text(json.dumps(document))
    claims = decode(mint(key, "svc", "default", ["requester"], 60), key_set(document))
    signer = OKPKey.import_key(json.loads(files.private_key.read_text()) | {"alg": named})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        token = jwt.encode({"alg": named, "kid": key.kid}, claims, signer, algorithms=[named])

    assert Verifier(files.jwks).verify(token).subject == "svc"
