"""Keys of the logs: private ones that sign checkpoints, and public ones that signed earlier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from placet_proof import LOG_SIGNATURE, Checkpoint, Note, NotProven, VerifierKey, check_public_key
from placet_proof.signer import signed

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


class NoLogKey(ValueError):
    """The text holds no key that can sign a log."""


@dataclass(frozen=True)
class LogKeys:
    """Keys of all tenants' logs, newest first.

    Each private key signs: one, or two during a key rotation, so that verifiers who know the old one accept
    the new one. Keys with a public half only do not sign; their checkpoints stay valid. `origin`: the name of
    the logs, to which the tenant is added. `attesting`: those that sign the commands in the logs.
    """

    origin: str
    private: Sequence[Ed25519PrivateKey] = field(repr=False)
    public: Sequence[bytes]
    attesting: Sequence[VerifierKey] = ()
    # Last checkpoint of each tenant that this process signed: its signature need not be verified.
    _own: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, pem: str, origin: str) -> LogKeys:
        """Reads PEM blocks, newest first: private Ed25519 keys (PKCS #8), then public ones.

        Raises NoLogKey for anything else, and without a private one.
        """
        private, public = list[Ed25519PrivateKey](), list[bytes]()
        for block in _BLOCK.finditer(pem):
            key = _key(block[0])
            if isinstance(key, Ed25519PrivateKey):
                private.append(key)
                key = key.public_key()
            public.append(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        if not private:
            only = ", and here is only the public half of one" if public else ""
            raise NoLogKey(f"the log's key must be a private Ed25519 key in PEM{only}")
        return cls(origin, private, public)

    def origin_of(self, tenant: str) -> str:
        """Returns the origin of a tenant's checkpoints, which is also the name of its keys."""
        return f"{self.origin}/{tenant}"

    def of(self, tenant: str) -> list[VerifierKey]:
        """Returns the public keys of a tenant's log, newest first."""
        return [VerifierKey(self.origin_of(tenant), LOG_SIGNATURE, public) for public in self.public]

    def sign(self, tenant: str, size: int, root: bytes) -> str:
        """Signs a checkpoint of a tenant's log."""
        text = Checkpoint(self.origin_of(tenant), size, root).text
        lines = "".join(signed(text, key, self.origin_of(tenant)) for key in self.private)
        self._own[tenant] = note = f"{text}\n{lines}"
        return note

    def verified(self, tenant: str, note: str) -> Checkpoint:
        """Returns the checkpoint in a note. Raises NotProven unless a key signed it for this tenant."""
        parsed = Note.parse(note)
        if note != self._own.get(tenant):
            parsed.verified(self.of(tenant))
        checkpoint = parsed.checkpoint
        if checkpoint.origin != self.origin_of(tenant):
            raise NotProven(f"this is a checkpoint of {checkpoint.origin}")
        return checkpoint


def _key(block: str) -> Ed25519PrivateKey | Ed25519PublicKey:
    pem = block.encode()
    try:
        if block.startswith("-----BEGIN PUBLIC KEY-----"):
            key: object = load_pem_public_key(pem)
        else:
            key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NoLogKey("a PEM block of the log's key cannot be read") from error
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise NoLogKey("the log's key must be an Ed25519 key")
    if isinstance(key, Ed25519PublicKey):
        try:
            check_public_key(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        except NotProven as error:
            raise NoLogKey(f"a public key of the log cannot be used: {error}") from error
    return key
