"""Encrypts Temporal's payloads, so that its database and its UI hold no content, names or reasons.

AES-256-GCM with a random 96-bit nonce for each payload (NIST SP 800-38D, 8.2.2); the key's id is
authenticated with it. What cannot be decrypted is passed on as it came: the converter then fails
on this one payload (a command becomes a refusal) and not on the whole workflow task.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING = b"binary/encrypted"
KEY_BYTES = 32
NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """See the module."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 random bytes. Raises ValueError for any other length."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the payload key has {len(key)} bytes; it must have {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._key_id = hashlib.sha256(key).hexdigest()[:16].encode()

    async def encode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Each payload, encrypted."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Each payload, decrypted if it was encrypted with this key, else as it came."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, payload.SerializeToString(), self._key_id)
        return Payload(metadata={"encoding": ENCODING, "key-id": self._key_id}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING or payload.metadata.get("key-id") != self._key_id:
            return payload
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(self._cipher.decrypt(nonce, sealed, self._key_id))
        except (InvalidTag, ValueError):
            return payload
