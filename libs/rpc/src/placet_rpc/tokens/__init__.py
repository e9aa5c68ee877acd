"""Tokens: JWTs signed with Ed25519 (RFC 7519). `mint` is for holders of the private key, `sources` for
callers, `verify` for servers."""

from __future__ import annotations

from typing import Final

ISSUER: Final = "placet-embedded"
AUDIENCE: Final = "placet"
# RFC 9864's name of EdDSA on curve Ed25519. Tokens that call it EdDSA (RFC 8037) are accepted too.
ALGORITHM: Final = "Ed25519"
# Difference of two machines' clocks up to which a fresh token is valid.
CLOCK_SKEW_SECONDS: Final = 5
