"""Tokens: JWTs signed with Ed25519 (RFC 7519, RFC 9864), their keys, and where callers get them from.

One algorithm is pinned on both sides, so that a token cannot choose how it is checked.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jwt import JWTClaimsRegistry

from placet_rpc.errors import RPC_DOMAIN, Unauthenticated
from placet_rpc.identity import Principal, checked_tenant, one_spelling

ISSUER: Final = "placet-embedded"
AUDIENCE: Final = "placet"
ALGORITHM: Final = "Ed25519"  # RFC 9864's name for EdDSA on that curve
PRIVATE_KEY_FILE: Final = "signing-key.json"
JWKS_FILE: Final = "jwks.json"

# How far the clocks of two machines may differ before a fresh token is "not yet valid".
_CLOCK_SKEW_SECONDS: Final = 5
_MAX_TOKEN_BYTES: Final = 8192
_MAX_SUBJECT: Final = 254
_MAX_CACHED: Final = 10_000
_LOG = logging.getLogger("placet.rpc.tokens")


@dataclass(frozen=True)
class KeyFiles:
    """Where a signing key and its public half lie."""

    private_key: Path
    jwks: Path

    @classmethod
    def below(cls, folder: Path) -> KeyFiles:
        """The files that `generate_keys(folder)` makes."""
        return cls(folder / PRIVATE_KEY_FILE, folder / JWKS_FILE)


@dataclass(frozen=True)
class SigningKey:
    """The private key that mints tokens. Only the CLI and the supervisor hold it."""

    key: OKPKey

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Reads the key. Raises OSError, or ValueError if it is no such key or others may read the file."""
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{path} can be read by others; make it private with: chmod 600 {path}")
        try:
            key = OKPKey.import_key(json.loads(path.read_text()))
        except JoseError as error:
            raise ValueError(f"{path} holds no Ed25519 key: {error}") from error
        if not key.is_private or key.curve_name != "Ed25519":
            raise ValueError(f"{path} holds no private Ed25519 key")
        return cls(key)


def generate_keys(folder: Path) -> KeyFiles:
    """Makes a new signing key (mode 0600) and its JWKS in `folder`, which is made (0700) if need be.

    The key comes last and in one step: where there is one, there is all. One at a time in a folder.
    Raises FileExistsError if the folder holds a signing key already: tokens in use depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = KeyFiles.below(folder)
    if files.private_key.exists():
        raise FileExistsError(f"{files.private_key} is in use")
    key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    _replace(files.jwks, json.dumps({"keys": [key.as_dict(private=False)]}, indent=1), mode=0o644)
    _replace(files.private_key, json.dumps(key.as_dict(private=True)), mode=0o600)
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
    """A token that says who `subject` is for `ttl` seconds. `roles` are Role's names, e.g. `approver`.

    For roles `worker` and `service` the tenant of each call comes from its metadata; `tenant` is then only
    where refusals of authority are recorded. Raises ValueError if `tenant` is no tenant's name.
    """
    issued = time.time() if now is None else now
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "tenant": checked_tenant(tenant),
        "roles": sorted(roles),
        "nbf": int(issued) - _CLOCK_SKEW_SECONDS,
        "exp": math.ceil(issued + ttl),
        "jti": uuid.uuid4().hex,
    }
    key = private_key.key
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def write_token(path: Path, token: str) -> None:
    """Puts `token` into `path` (mode 0600) in one step, so that a reader never sees half of it."""
    _replace(path, token + "\n", mode=0o600)


def revoke(jwks: Path, token: str) -> None:
    """Makes every service that reads `jwks` refuse `token` from now on, although it has not expired.

    Its id is kept in the file, in a member `revoked` that other readers of a JWKS ignore (RFC 7517,
    section 5), until the token would have expired. Raises ValueError if the token is not of these keys.
    """
    document = json.loads(jwks.read_text())
    try:
        claims = jwt.decode(token, _key_set(document), algorithms=[ALGORITHM]).claims
    except JoseError as error:
        raise ValueError("the token was not signed by a key of this JWKS") from error
    now = time.time()
    revoked = {jti: exp for jti, exp in document.get("revoked", {}).items() if exp > now}
    revoked[claims["jti"]] = claims["exp"]
    document["revoked"] = revoked
    _replace(jwks, json.dumps(document, indent=1), mode=0o644)


@dataclass(frozen=True)
class _Verified:
    principal: Principal
    expires: float  # wall clock, seconds
    recheck: float  # monotonic clock, seconds


class Verifier:
    """Tells who a token is of. Keeps what it verified for at most `cache_seconds` (30 at most).

    The JWKS is read again as soon as it is replaced, and everything verified is then forgotten. `clock` is
    the wall clock, `ticks` a monotonic one; both in seconds.
    """

    def __init__(
        self,
        jwks: Path,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        cache_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the JWKS. Raises OSError or ValueError if it cannot be read or holds no usable key."""
        self._path = jwks
        self._authenticated_by = f"jwt:{issuer}"
        self._cache_seconds = min(cache_seconds, 30.0)
        self._clock = clock
        self._ticks = ticks
        self._claims = JWTClaimsRegistry(
            now=lambda: int(clock()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            nbf={"essential": True},
            jti={"essential": True},
        )
        self._cache: dict[str, _Verified] = {}
        self._stamp = _stamp(jwks)
        self._keys, self._revoked = _read_jwks(jwks)

    def verify(self, token: str) -> Principal:
        """Who `token` is of, with the tenant that it names. Raises Unauthenticated."""
        self._follow_file()
        ticks = self._ticks()
        known = self._cache.get(token)
        if known is not None and ticks < known.recheck and self._clock() < known.expires:
            return known.principal
        verified = self._check(token, ticks)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[token] = verified
        return verified.principal

    def _check(self, token: str, ticks: float) -> _Verified:
        if len(token) > _MAX_TOKEN_BYTES:
            raise _invalid()
        try:
            claims = jwt.decode(token, self._keys, algorithms=[ALGORITHM]).claims
            self._claims.validate(claims)
            principal = self._principal(claims)
        except ExpiredTokenError as error:
            raise _refused("the token has expired; get a fresh one", "TOKEN_EXPIRED") from error
        except (JoseError, ValueError) as error:
            raise _invalid() from error
        if claims["jti"] in self._revoked:
            raise _refused("the token was revoked", "TOKEN_REVOKED")
        return _Verified(principal, float(claims["exp"]), ticks + self._cache_seconds)

    def _principal(self, claims: dict[str, object]) -> Principal:
        """The caller that `claims` describe. Raises ValueError if they are not what `mint` writes."""
        subject, tenant, roles = claims["sub"], claims.get("tenant"), claims.get("roles")
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
            raise ValueError("claim sub")
        if "@" in subject and not subject.isascii():
            # Two addresses that look the same would be two people, and nobody can be asked by such a one.
            raise ValueError("claim sub: an address beyond ASCII")
        if not isinstance(tenant, str):
            raise ValueError("claim tenant")  # noqa: TRY004 (a wrong token, not a wrong call)
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("claim roles")
        return Principal(
            one_spelling(subject), checked_tenant(tenant), frozenset(roles), self._authenticated_by
        )

    def _follow_file(self) -> None:
        """Reads the JWKS again if it was replaced. Keeps the old keys while the file cannot be read."""
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            # Also when it cannot be read: the same broken file is not read again for every call.
            self._stamp = stamp
            self._keys, self._revoked = _read_jwks(self._path)
        except (OSError, ValueError) as error:
            _LOG.warning("cannot read the JWKS again, going on with the keys of before: %s", error)
            return
        self._cache.clear()


class TokenSource(Protocol):
    """Where a client gets the token of each call from."""

    def token(self) -> str:
        """A token that is valid now. Called for every RPC, so it must be quick. Raises Unauthenticated."""
        ...


@dataclass(frozen=True)
class StaticToken:
    """The same token for ever: for short-lived programs and tests."""

    value: str

    def token(self) -> str:
        """The token."""
        return self.value


class FileTokenSource:
    """The token in a file, read again whenever the file was replaced."""

    def __init__(self, path: Path) -> None:
        """Reads nothing yet: the file may appear later."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""

    def token(self) -> str:
        """The file's token; the last one read, while the file is away. Raises Unauthenticated without any."""
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._token = self._path.read_text().strip()
                self._stamp = stamp
        except OSError as error:
            if not self._token:
                message = f"there is no token in {self._path}: {error.strerror}"
                raise _refused(message, "TOKEN_MISSING") from error
        if not self._token:
            raise _refused(f"there is no token in {self._path}: it is empty", "TOKEN_MISSING")
        return self._token


class MintingTokenSource:
    """Mints its own tokens, each renewed when a third of its life is left. For holders of the key only."""

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


def _read_jwks(path: Path) -> tuple[KeySet, frozenset[str]]:
    """The Ed25519 keys in a JWKS and the ids of revoked tokens. Raises OSError or ValueError."""
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or not isinstance(document.get("revoked", {}), dict):
        raise ValueError(f"{path} is no JWKS")  # noqa: TRY004 (a wrong file, not a wrong call)
    return _key_set(document), frozenset(document.get("revoked", {}))


def _key_set(document: dict[str, object]) -> KeySet:
    """The keys of a JWKS that can check Placet's tokens; others are ignored (RFC 7517, section 5)."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("a JWKS needs the member keys")  # noqa: TRY004 (a wrong file, not a wrong call)
    try:
        keys = [
            OKPKey.import_key(entry)
            for entry in entries
            if isinstance(entry, dict) and entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519"
        ]
    except JoseError as error:
        raise ValueError(f"a JWKS holds a broken key: {error}") from error
    if not keys:
        raise ValueError("a JWKS needs at least one Ed25519 key")
    return KeySet([*keys])


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or rewritten."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _replace(path: Path, text: str, *, mode: int) -> None:
    """Writes `path` anew in one step, with `mode` from its first moment on."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _invalid() -> Unauthenticated:
    # One text for all of it: who forges tokens is not told what was noticed.
    return _refused("the token is not valid here", "TOKEN_INVALID")


def _refused(message: str, reason: str) -> Unauthenticated:
    return Unauthenticated(message, reason=reason, domain=RPC_DOMAIN)
