"""Signatures of logs and witnesses. No signature is verified with it.

python -m placet_proof.signer < attestation.pem     prints the public key of a key of attestations
"""

from __future__ import annotations

import sys

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from placet_proof.notes import (
    ATTESTATION,
    ATTESTATION_KEY,
    COSIGNATURE,
    KEY_NAME,
    LOG_SIGNATURE,
    VerifierKey,
    cosigned_text,
)


def attestation_key(private: Ed25519PrivateKey) -> VerifierKey:
    """Returns the public half of a key that signs attestations."""
    return verifier_key(private, ATTESTATION_KEY, ATTESTATION)


def new_key() -> str:
    """Generates a private key, in PEM (PKCS #8, not encrypted)."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_key(pem: bytes) -> Ed25519PrivateKey:
    """Reads a private key in PEM (PKCS #8, not encrypted). Raises ValueError for anything else."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key must be an Ed25519 key")  # noqa: TRY004  # a wrong file, not a wrong call
    return key


def verifier_key(private: Ed25519PrivateKey, name: str, kind: int = LOG_SIGNATURE) -> VerifierKey:
    """Returns the public half of a key. Raises ValueError for a name with spaces or a plus."""
    if not KEY_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a key: it has spaces or a plus, or is empty")
    return VerifierKey(name, kind, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def signed(text: str, private: Ed25519PrivateKey, name: str) -> str:
    """Signs a note's text for a log; returns the line of the signature."""
    return verifier_key(private, name).line(private.sign(text.encode()))


def cosigned(text: str, private: Ed25519PrivateKey, name: str, time: int) -> str:
    """Signs a checkpoint's text for a witness, at a POSIX time; returns the line of the signature."""
    signature = time.to_bytes(8, "big") + private.sign(cosigned_text(text, time))
    return verifier_key(private, name, COSIGNATURE).line(signature)


if __name__ == "__main__":
    sys.stdout.write(f"{attestation_key(read_key(sys.stdin.buffer.read()))}\n")
