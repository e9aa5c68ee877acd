"""Tokens of tests: one that never changes, and the revocation of one."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from joserfc.errors import JoseError

from placet_rpc.files import write_atomically
from placet_rpc.tokens.verify import decode, key_set, read_jwks


@dataclass(frozen=True)
class StaticToken:
    """A token source whose token never changes."""

    value: str

    def token(self) -> str:
        """The token."""
        return self.value


def revoke(jwks: Path, token: str) -> None:
    """Makes every service that reads `jwks` refuse `token` from now on, although it has not expired.

    Its id is kept in the file, in a member `revoked` that other readers of a JWKS ignore (RFC 7517,
    section 5), until the token would have expired. Raises ValueError if the token is not of these keys.
    """
    document = read_jwks(jwks)
    keys = key_set(document)
    try:
        claims = decode(token, keys)
    except (JoseError, ValueError) as error:
        raise ValueError("the token was not signed by a key of this JWKS") from error
    now = time.time()
    revoked = {jti: exp for jti, exp in document.get("revoked", {}).items() if exp > now}
    revoked[claims["jti"]] = claims["exp"]
    document["revoked"] = revoked
    write_atomically(jwks, json.dumps(document, indent=1), mode=0o644)
