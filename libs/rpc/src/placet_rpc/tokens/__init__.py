"""Tokens: JWTs signed with Ed25519 (RFC 7519). `mint` is for holders of the private key, `sources` for
callers, `verify` for servers."""

from __future__ import annotations

from typing import Final

ISSUER: Final = "placet-embedded"
AUDIENCE: Final = "placet"
# RFC 9864's name of EdDSA on curve Ed25519, which tokens are minted with.
ALGORITHM: Final = "Ed25519"
# Both names of that one algorithm. Nothing else is accepted, so that a token cannot choose how it is checked.
ACCEPTED_ALGORITHMS: Final = (ALGORITHM, "EdDSA")
# Difference of two machines' clocks up to which a fresh token is valid.
CLOCK_SKEW_SECONDS: Final = 5
