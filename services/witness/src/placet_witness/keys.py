"""Key files: the witness's private key, and the log's public ones."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from placet_proof import ATTESTATION, COSIGNATURE, LOG_SIGNATURE, NotProven, VerifierKey
from placet_proof.signer import cosigned, verifier_key
from placet_rpc.files import read_private


@dataclass(frozen=True)
class Signer:
    """Private key of the witness, with its name."""

    private: Ed25519PrivateKey
    name: str

    @classmethod
    def load(cls, path: Path, name: str) -> Signer:
        """Reads an Ed25519 key in PEM (PKCS #8). Raises OSError, or ValueError if there is no file, it holds
        no such key, others may read it, or the name cannot name a key."""
        try:
            pem = read_private(path)
        except FileNotFoundError as error:
            raise ValueError(_no_file(path)) from error
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"{path} holds no private key in PEM, PKCS #8, without a password") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path} holds a private key, but none of Ed25519")  # noqa: TRY004 (a wrong file, not a wrong call)
        # Checks the name.
        verifier_key(private, name, COSIGNATURE)
        return cls(private, name)

    @property
    def key(self) -> VerifierKey:
        """Public key of its cosignatures."""
        return verifier_key(self.private, self.name, COSIGNATURE)

    def cosignature(self, text: str, time: int) -> str:
        """Signs a checkpoint's text at a POSIX time; returns the note's line."""
        return cosigned(text, self.private, self.name, time)


def _no_file(path: Path) -> str:
    return (
        f"its key {path} does not exist: put back the one that it cosigned with; for a new witness: "
        f"umask 077; openssl genpkey -algorithm ed25519 -out {shlex.quote(str(path))}"
    )


def log_keys(path: Path) -> tuple[VerifierKey, ...]:
    """Reads a file with a verifier key on each line; keys of attestations are left out.

    Raises OSError, or ValueError if there is none.
    """
    lines = [line.strip() for line in path.read_text().splitlines()]
    try:
        found = [VerifierKey.parse(line) for line in lines if line and not line.startswith("#")]
    except NotProven as error:
        raise ValueError(f"{path}: {error}") from error
    keys = tuple(key for key in found if key.kind != ATTESTATION)
    if not keys or any(key.kind != LOG_SIGNATURE for key in keys):
        raise ValueError(f"{path} must hold verifier keys of the log, one on each line")
    return keys


def as_lines(keys: Iterable[VerifierKey]) -> str:
    """Returns the content of a file for `log_keys`."""
    return "".join(f"{key}\n" for key in keys)
