"""Keys and tokens of the embedded stack's processes."""

from __future__ import annotations

import secrets
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from placet_cli.home import Home
from placet_cli.identity import TENANT, signing_key
from placet_devstack.child import Report, StackEvent
from placet_devstack.lost_keys import lost_keys
from placet_proof.signer import attestation_key, new_key, read_key
from placet_rpc.files import write_atomically
from placet_rpc.identity import PROGRAMS
from placet_rpc.tasks import periodically
from placet_rpc.tokens.mint import (
    KeyFiles,
    SigningKey,
    generate_keys,
    mint,
    mint_for_program,
    write_token,
)

TOKEN_SECONDS = 3600.0
LOOK_EVERY = 20.0

# For programs that try the SDK on this machine: they ask, and see what they asked.
CALLER = "caller"


def make_keys(home: Home) -> None:
    """Makes what keys the home lacks. Keys that are there stay: tokens and stored payloads depend on them.

    Raises Problem, and makes none, where one is gone without which what the home holds cannot go on.
    """
    lost = lost_keys(home)
    for one in lost:
        if one.needed:
            raise one.problem
    if not KeyFiles.below(home.keys).private_key.exists():
        generate_keys(home.keys)
    if not home.payload_key.exists():
        write_atomically(home.payload_key, secrets.token_bytes(32))
    _make_attestation_key(home)
    for pem in (home.log_key, home.witness_key):
        if not pem.exists() and pem not in {one.path for one in lost}:
            write_atomically(pem, new_key().encode())


def _make_attestation_key(home: Home) -> None:
    """Makes the key that signs people's commands, and names it among the public ones, which stay."""
    if not home.attestation_key.exists():
        write_atomically(home.attestation_key, new_key().encode())
    elif home.attestation_keys.exists():
        return
    private = read_key(home.attestation_key.read_bytes())
    known = home.attestation_keys.read_text() if home.attestation_keys.exists() else ""
    line = f"{attestation_key(private)}\n"
    write_atomically(home.attestation_keys, line + known, mode=0o644)


@dataclass
class Tokens:
    """The token files of the stack's own parts, each renewed when half of its life is over."""

    home: Home
    _key: SigningKey = field(init=False)
    _renew_at: float = 0.0

    def __post_init__(self) -> None:
        self._key = signing_key(self.home)

    def write_all(self) -> None:
        """Writes a fresh token for everyone."""
        for program in sorted(PROGRAMS):
            token = mint_for_program(self._key, program, TENANT, TOKEN_SECONDS)
            write_token(self.home.token(program), token)
        caller = mint(self._key, CALLER, TENANT, ["requester"], TOKEN_SECONDS)
        write_token(self.home.token(CALLER), caller)
        self._renew_at = time.time() + TOKEN_SECONDS / 2

    def renewed(self, report: Report) -> AbstractAsyncContextManager[None]:
        """Renews the tokens while its block runs; a failure to write them is reported and tried again."""

        async def renew_when_due() -> None:
            # By the wall clock and in short steps: a machine may have slept.
            if time.time() >= self._renew_at:
                try:
                    self.write_all()
                except OSError as error:
                    report(StackEvent("tokens", "not renewed", str(error), bad=True))

        return periodically(renew_when_due, LOOK_EVERY, "renewing tokens is tried again")
