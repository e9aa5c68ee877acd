"""Verification of tokens with the public keys of a JWKS (RFC 7517)."""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joserfc import jws
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from placet_proof import NotProven, check_public_key, read_object
from placet_rpc.errors import RPC_DOMAIN, Unauthenticated
from placet_rpc.files import version_of
from placet_rpc.identity import (
    ALL_TENANTS,
    PROGRAM_ROLE,
    PROGRAMS,
    Principal,
    checked_tenant,
    normalize_address,
)
from placet_rpc.tokens import ALGORITHM, AUDIENCE, ISSUER

_MAX_TOKEN_BYTES: Final = 8192
_MAX_JWKS_BYTES: Final = 1 << 20
_MAX_SUBJECT: Final = 254
_MAX_CACHED: Final = 10_000
_MAX_CACHE_SECONDS: Final = 30.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """A token's principal, until when the token is valid, and until when that need not be checked again."""

    principal: Principal
    expires: float  # wall clock, seconds
    recheck: float  # monotonic clock, seconds


class Verifier:
    """Verifies tokens. Keeps each result for at most `cache_seconds` (30 at most).

    The JWKS is read again as soon as it is replaced, and all kept results are then dropped. `clock` is
    the wall clock, `ticks` a monotonic one; both in seconds.
    """

    def __init__(
        self,
        jwks: Path,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        cache_seconds: float = _MAX_CACHE_SECONDS,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the JWKS. Raises OSError or ValueError if it cannot be read or holds no usable key."""
        self._path = jwks
        self._authenticated_by = f"jwt:{issuer}"
        self._cache_seconds = min(cache_seconds, _MAX_CACHE_SECONDS)
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
        self._cache: dict[str, Verified] = {}
        self._version = version_of(jwks)
        self._keys, self._revoked = _read_jwks(jwks)

    def verify(self, token: str) -> Principal:
        """The token's principal, in the tenant that the token names. Raises Unauthenticated.

        The error's cause says why an invalid token was refused. It is for the server's log, not the caller.
        """
        return self._verified(token).principal

    def valid_for(self, token: str) -> float:
        """Seconds after which `token` must be verified again, at most 30. Raises Unauthenticated."""
        verified = self._verified(token)
        return max(0.0, min(verified.recheck - self._ticks(), verified.expires - self._clock()))

    def _verified(self, token: str) -> Verified:
        self._follow_file()
        ticks = self._ticks()
        known = self._cache.get(token)
        if known is not None and ticks < known.recheck and self._clock() < known.expires:
            return known
        verified = self._check(token, ticks)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[token] = verified
        return verified

    def _check(self, token: str, ticks: float) -> Verified:
        if len(token) > _MAX_TOKEN_BYTES:
            raise _invalid() from ValueError(
                f"a token of {len(token)} bytes; the limit is {_MAX_TOKEN_BYTES}"
            )
        try:
            claims = decode(token, self._keys)
            self._claims.validate(claims)
            principal = self._principal(claims)
        except ExpiredTokenError as error:
            raise _refused("the token has expired; get a fresh one", "TOKEN_EXPIRED") from error
        except (JoseError, ValueError) as error:
            raise _invalid() from error
        if self._clock() >= float(claims["exp"]):
            # The library accepts a token for up to a second longer, because its clock has whole seconds.
            raise _refused("the token has expired; get a fresh one", "TOKEN_EXPIRED")
        if claims["jti"] in self._revoked:
            raise _refused("the token was revoked", "TOKEN_REVOKED")
        return Verified(principal, float(claims["exp"]), ticks + self._cache_seconds)

    def _principal(self, claims: dict[str, object]) -> Principal:
        """The caller that `claims` describe. Raises ValueError if a claim breaks the rules of `mint`."""
        subject, tenant, roles = claims["sub"], claims.get("tenant"), claims.get("roles")
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
            raise ValueError(f"claim sub must be a text of 1 to {_MAX_SUBJECT} characters")
        if "@" in subject and not subject.isascii():
            # Two addresses that look the same would be two people; the contract admits ASCII addresses only.
            raise ValueError("claim sub is an address with characters beyond ASCII")
        if not isinstance(tenant, str):
            raise ValueError("claim tenant must be a text")  # noqa: TRY004 (a wrong token, not a wrong call)
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise ValueError("claim roles must be a list of texts")
        return Principal(
            normalize_address(subject),
            checked_tenant(tenant),
            frozenset(roles),
            self._authenticated_by,
            _tenants_of_program(claims) if PROGRAM_ROLE in roles else frozenset(),
        )

    def _follow_file(self) -> None:
        """Reads the JWKS again if it was replaced. Keeps the old keys while the file cannot be read."""
        try:
            version = version_of(self._path)
            if version == self._version:
                return
            # Also when it cannot be read: the same broken file is not read again for every call.
            self._version = version
            self._keys, self._revoked = _read_jwks(self._path)
        except (OSError, ValueError) as error:
            _LOG.warning("cannot read the JWKS again, keeping the earlier keys: %s", error)
            return
        self._cache.clear()


class _Ed25519Registry(JWSRegistry):
    """Ed25519 under both of its names, and no other algorithm: a token cannot choose how it is checked.

    The library has EdDSA as an algorithm of its own, which takes other curves too and warns of each token.
    """

    def get_alg(self, name: str) -> JWSAlgModel:
        """Raises UnsupportedAlgorithmError for any other name."""
        return super().get_alg(ALGORITHM if name == "EdDSA" else name)


_REGISTRY: Final = _Ed25519Registry(algorithms=[ALGORITHM])


def decode(token: str, keys: KeySet) -> dict[str, Any]:
    """The claims of a token that one of `keys` signed, not yet validated. Raises JoseError, ValueError.

    Claims are read only after the signature was verified. Header and claims must be I-JSON (RFC 7493).
    """
    header = read_object(_decoded(token.partition(".")[0]), _MAX_TOKEN_BYTES)
    if "crit" in header:
        # RFC 7515, section 4.1.11: who does not understand an extension that is critical refuses the token.
        raise ValueError("the header names critical extensions, and none is understood here")
    return read_object(
        jws.deserialize_compact(token, keys, registry=_REGISTRY).payload or b"", _MAX_TOKEN_BYTES
    )


def key_set(document: dict[str, object]) -> KeySet:
    """The Ed25519 keys of a JWKS; others are ignored (RFC 7517, section 5). Raises ValueError without any."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("a JWKS needs the member keys")  # noqa: TRY004 (a wrong file, not a wrong call)
    keys = [
        _key(entry)
        for entry in entries
        if isinstance(entry, dict) and entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519"
    ]
    if not keys:
        raise ValueError("a JWKS needs at least one Ed25519 key")
    return KeySet([*keys])


def _tenants_of_program(claims: Mapping[str, object]) -> frozenset[str]:
    """The tenants that a program's token names. Raises ValueError if a claim breaks the rules of
    `mint_for_program`."""
    if claims["roles"] != [PROGRAM_ROLE]:
        raise ValueError(f"role {PROGRAM_ROLE} must be the only one")
    if claims["sub"] not in PROGRAMS:
        raise ValueError(f"claim sub is no program of Placet: {', '.join(sorted(PROGRAMS))}")
    tenants = claims.get("tenants")
    if not isinstance(tenants, list) or not tenants:
        raise ValueError("claim tenants must be a list of at least one tenant")
    if tenants == [ALL_TENANTS]:
        return frozenset(tenants)
    if not all(isinstance(tenant, str) for tenant in tenants):
        raise ValueError("claim tenants must be a list of texts")
    return frozenset(checked_tenant(tenant) for tenant in tenants)


def _read_jwks(path: Path) -> tuple[KeySet, frozenset[str]]:
    """The Ed25519 keys in a JWKS and the ids of revoked tokens. Raises OSError or ValueError."""
    document = read_jwks(path)
    return key_set(document), frozenset(document.get("revoked", {}))


def read_jwks(path: Path) -> dict[str, Any]:  # Any: JSON
    """The document in a file: a JWKS, with the ids of revoked tokens in `revoked` and when each expires.

    Raises OSError, or ValueError for what is larger than 1 MiB or is no such document.
    """
    with path.open("rb") as file:
        raw = file.read(_MAX_JWKS_BYTES + 1)
    try:
        document = read_object(raw, _MAX_JWKS_BYTES)
    except ValueError as error:
        raise ValueError(f"{path} is no JWKS: {error}") from error
    revoked = document.get("revoked", {})
    if not isinstance(revoked, dict) or not all(isinstance(one, int | float) for one in revoked.values()):
        raise ValueError(f"{path} is no JWKS: its revoked tokens are not ids with times")
    return document


def _key(entry: dict[str, Any]) -> OKPKey:  # Any: JSON
    """An Ed25519 key of a JWKS. Raises ValueError."""
    try:
        check_public_key(_decoded(str(entry.get("x"))))
        # Without `alg`: the key serves both names of the algorithm, whichever its publisher wrote.
        return OKPKey.import_key({name: value for name, value in entry.items() if name != "alg"})
    except NotProven as error:
        raise ValueError(f"a JWKS holds a key that cannot be used: {error}") from error
    except (JoseError, ValueError, TypeError) as error:
        raise ValueError("a JWKS holds an Ed25519 key that cannot be read") from error


def _decoded(text: str) -> bytes:
    """Decodes base64url without padding (RFC 7515, section 2), in its one spelling. Raises ValueError."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a part of it is not base64url") from error
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != text:
        raise ValueError("a part of it is not base64url in its canonical spelling")
    return found


def _invalid() -> Unauthenticated:
    # One sentence for all causes: a forger learns nothing from it.
    return _refused("the token is not valid here", "TOKEN_INVALID")


def _refused(message: str, reason: str) -> Unauthenticated:
    return Unauthenticated(message, reason=reason, domain=RPC_DOMAIN)
