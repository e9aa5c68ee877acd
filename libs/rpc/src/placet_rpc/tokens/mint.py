"""Signing keys and minting of tokens. Only the CLI and the supervisor hold a private key."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_proof import read_object
from placet_rpc.files import read_private, write_atomically
from placet_rpc.identity import ALL_TENANTS, PROGRAM_ROLE, PROGRAMS, checked_tenant
from placet_rpc.tokens import ALGORITHM, AUDIENCE, CLOCK_SKEW_SECONDS, ISSUER

PRIVATE_KEY_FILE: Final = "signing-key.json"
JWKS_FILE: Final = "jwks.json"
_MAX_KEY_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class KeyFiles:
    """Paths of a signing key and of its public half."""

    private_key: Path
    jwks: Path

    @classmethod
    def below(cls, folder: Path) -> KeyFiles:
        """The files that `generate_keys(folder)` makes."""
        return cls(folder / PRIVATE_KEY_FILE, folder / JWKS_FILE)


@dataclass(frozen=True)
class SigningKey:
    """The private key that tokens are signed with, and its id in the JWKS."""

    private_key: Ed25519PrivateKey
    kid: str

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Reads the key. Raises OSError, or ValueError if it is no such key or others may read the file."""
        content = read_private(path)
        try:
            key = read_object(content, _MAX_KEY_BYTES)
        except ValueError as error:
            raise ValueError(f"{path} holds no Ed25519 key") from error
        if key.get("kty") != "OKP" or key.get("crv") != "Ed25519" or not isinstance(key.get("kid"), str):
            raise ValueError(f"{path} holds no Ed25519 key")
        try:
            # RFC 8037, section 2: `d` is the private key, 32 bytes in base64url.
            private = base64.b64decode(key["d"] + "=", altchars=b"-_", validate=True)
            return cls(Ed25519PrivateKey.from_private_bytes(private), key["kid"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no private Ed25519 key") from error


def generate_keys(folder: Path) -> KeyFiles:
    """Makes a new signing key (mode 0600) and its JWKS in `folder`, which is made (0700) if need be.

    The key comes last and in one step: where there is one, there is all. One at a time in a folder.
    Raises FileExistsError if the folder holds a signing key already: tokens in use depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = KeyFiles.below(folder)
    if files.private_key.exists():
        raise FileExistsError(f"{files.private_key} is in use")
    # Imported late: keys are made once, and callers who mint need nothing else of this library.
    from joserfc.jwk import OKPKey

    key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    write_atomically(files.jwks, json.dumps({"keys": [key.as_dict(private=False)]}, indent=1), mode=0o644)
    write_atomically(files.private_key, json.dumps(key.as_dict(private=True)), mode=0o600)
    return files


def mint(
    private_key: SigningKey,
    subject: str,
    tenant: str,
    roles: Iterable[str],
    ttl: float,
    *,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    now: float | None = None,
) -> str:
    """Signs a token of a person or caller, valid for `ttl` seconds. `roles` are Role's, e.g. `approver`.

    Raises ValueError if `tenant` is no tenant's name.
    """
    claims = {"sub": subject, "tenant": checked_tenant(tenant), "roles": sorted(roles)}
    return _sign(private_key, claims, ttl, issuer=issuer, audience=audience, now=now)


def mint_for_program(
    private_key: SigningKey,
    program: str,
    tenant: str,
    ttl: float,
    *,
    tenants: Iterable[str] = (),
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    now: float | None = None,
) -> str:
    """Signs a token of a program of Placet, e.g. `worker-default`, valid for `ttl` seconds.

    It acts for `tenants`, by default `tenant` alone, which is also where refusals of calls for others are
    recorded; ALL_TENANTS as the only element stands for all. Raises ValueError for another program's name, or
    what is no tenant's name.
    """
    if program not in PROGRAMS:
        raise ValueError(f"{program!r} is no program of Placet; they are {', '.join(sorted(PROGRAMS))}")
    named = sorted(tenants) or [tenant]
    claims = {
        "sub": program,
        "tenant": checked_tenant(tenant),
        "tenants": named if named == [ALL_TENANTS] else [checked_tenant(one) for one in named],
        "roles": [PROGRAM_ROLE],
    }
    return _sign(private_key, claims, ttl, issuer=issuer, audience=audience, now=now)


def _sign(
    private_key: SigningKey,
    claims: Mapping[str, object],
    ttl: float,
    *,
    issuer: str,
    audience: str,
    now: float | None,
) -> str:
    issued = time.time() if now is None else now
    payload = {
        "iss": issuer,
        "aud": audience,
        **claims,
        "nbf": int(issued) - CLOCK_SKEW_SECONDS,
        "exp": math.ceil(issued + ttl),
        "jti": uuid.uuid4().hex,
    }
    header = {"typ": "JWT", "alg": ALGORITHM, "kid": private_key.kid}
    # RFC 7515, section 7.1. Not by joserfc, which takes longer to import than a short command may run.
    signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(payload).encode())}"
    return f"{signed}.{_encoded(private_key.private_key.sign(signed.encode()))}"


def _encoded(raw: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def write_token(path: Path, token: str) -> None:
    """Writes `token` into `path` (mode 0600) in one step, so that a reader never sees half of it."""
    write_atomically(path, token + "\n", mode=0o600)


class MintingTokenSource:
    """Mints its own tokens; renews each when a third of its life is left."""

    def __init__(
        self,
        private_key: SigningKey,
        subject: str,
        tenant: str,
        roles: Iterable[str],
        ttl: float = 600.0,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ttl` is each token's life in seconds; `clock` the wall clock."""
        self._private_key = private_key
        self._subject = subject
        self._tenant = tenant
        self._roles = frozenset(roles)
        self._ttl = ttl
        self._clock = clock
        self._renew_at = 0.0
        self._token = ""
        # The SDK's sync face calls from other threads.
        self._lock = threading.Lock()

    def token(self) -> str:
        """A token with at least a third of its life left."""
        with self._lock:
            now = self._clock()
            if now >= self._renew_at:
                self._token = mint(
                    self._private_key, self._subject, self._tenant, self._roles, self._ttl, now=now
                )
                self._renew_at = now + self._ttl * 2 / 3
            return self._token
