"""Attestations: signatures under commands, by the service that authenticated their senders.

The signed statement names everything that the event of a command says of its sender: tenant, request,
command, body, sender, authentication, role and time. `check_attestation` builds it from the event itself, so
that an attestation of another statement does not fit. What can be erased is in it as the commitment that the
entry holds, so that it can be verified after an erasure too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from placet_proof.entries import SALT_BYTES, Leaf, commitment
from placet_proof.notes import ATTESTATION, VerifierKey
from placet_proof.tree import NotProven
from placet_proof.vocabulary import APPROVE, COMMENTED, DECIDED, REFUSED, REJECT, SERVICE, VOTED, Source

_STATEMENT, _BODY, _SALT = b"placet/attestation/v1\n", b"placet/command/v1\n", b"placet/salt/v1\n"
_SENDER = "event.actor.name"
_VERDICTS = {APPROVE: b"APPROVE", REJECT: b"REJECT"}
# Signatures whose result is kept: a request's path is judged again with each of its commands.
_KEPT = 4096


class NotAttested(NotProven):
    """The event of a command has no valid attestation."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The signed content of an attestation. `sender`: the commitment to the sender's name; `sender_kind`: the
    number of its `ActorKind`. `seconds`, `nanos`: the time, as in google.protobuf.Timestamp."""

    tenant: str
    approval_id: str
    command_id: str
    command: str
    body_digest: bytes
    sender_kind: int
    sender: bytes
    authenticated_by: str
    operator: bool
    seconds: int
    nanos: int

    @property
    def encoded(self) -> bytes:
        """The bytes that are signed."""
        texts = (self.tenant, self.approval_id, self.command_id, self.command)
        return _STATEMENT + _joined(
            *(text.encode() for text in texts),
            self.body_digest,
            bytes([self.sender_kind]),
            self.sender,
            self.authenticated_by.encode(),
            bytes([self.operator]),
            self.seconds.to_bytes(8, "big") + self.nanos.to_bytes(4, "big"),
        )


@dataclass(frozen=True, slots=True)
class ServiceSignature:
    """`placet.event.v1.ServiceSignature`, as an entry holds it."""

    key_id: bytes
    signature: bytes
    seconds: int
    nanos: int
    body_digest: bytes
    operator: bool

    @classmethod
    def of(cls, leaf: Leaf) -> ServiceSignature:
        """Reads that of an entry. Raises NotAttested, NotProven."""
        if leaf.attestation is None:
            raise NotAttested("the event of a command has no attestation")
        service = leaf.attestation.message(1)
        time = service.message(3)
        if service.get(6, b""):
            raise NotAttested("the entry holds the seed of its salts")
        return cls(
            service.get(1, b""),
            service.get(2, b""),
            time.get(1, 0),
            time.get(2, 0),
            service.get(4, b""),
            bool(service.get(5, 0)),
        )


def salt_of(seed: bytes, path: str) -> bytes:
    """Returns the salt of the erasable value at `path` in an event with this seed."""
    return sha256(_SALT + seed + path.encode()).digest()[:SALT_BYTES]


def commitment_of(seed: bytes, path: str, value: str) -> bytes:
    """Returns the commitment of the entry to the erasable value at `path`; empty for an empty value."""
    return commitment(salt_of(seed, path), value) if value else b""


def body_digest(*parts: bytes) -> bytes:
    """Returns the digest of a command's body: SHA-256 of its parts."""
    return sha256(_BODY + _joined(*parts)).digest()


def is_of_command(leaf: Leaf) -> bool:
    """Tells whether an event needs an attestation: a vote, a comment, a withdrawal, and a refusal.

    A refusal of what could not be read has no sender: its actor is a service without a name.
    """
    if leaf.body == DECIDED:
        return leaf.field(2, 0) == Source.REQUESTER
    if leaf.body == REFUSED:
        return leaf.actor_kind != SERVICE or _SENDER in leaf.commitments
    return leaf.body in (VOTED, COMMENTED)


def check_attestation(leaf: Leaf, received_at: int, keys: Iterable[VerifierKey]) -> ServiceSignature:
    """Returns the attestation of a command's event. Raises NotAttested unless one of the keys signed it.

    `received_at`: time of the request's first event, in POSIX seconds. A key that has ended signs nothing
    later than its end, and nothing about requests that were received later.
    """
    found = ServiceSignature.of(leaf)
    command, bodies = _command(leaf)
    if bodies and found.body_digest not in bodies:
        raise NotAttested(f"the attestation is one of another {command}")
    statement = Statement(
        leaf.tenant,
        leaf.approval_id,
        leaf.cause_id,
        command,
        found.body_digest,
        leaf.actor_kind,
        leaf.commitments.get(_SENDER, b""),
        leaf.authenticated_by,
        found.operator,
        found.seconds,
        found.nanos,
    )
    signers = [key for key in keys if key.kind == ATTESTATION and key.id == found.key_id]
    if not signers:
        raise NotAttested(f"no known key has the id {found.key_id.hex():.20} of the attestation")
    latest = max(found.seconds, received_at)
    if all(key.until is not None and latest > key.until for key in signers):
        raise NotAttested(f"the attestation's key {found.key_id.hex()} had ended")
    if not any(_is_signed(key.public, found.signature, statement.encoded) for key in signers):
        raise NotAttested("the attestation's signature is not one of this statement")
    return found


def attestation_keys(lines: Iterable[str]) -> tuple[VerifierKey, ...]:
    """Returns the keys of attestations among lines of verifier keys, empty ones and comments (#) left out.

    Raises NotProven, also where there is none.
    """
    texts = [line.strip() for line in lines]
    keys = [VerifierKey.parse(text) for text in texts if text and not text.startswith("#")]
    found = tuple(key for key in keys if key.kind == ATTESTATION)
    if not found:
        raise NotProven("there is no key of attestations")
    return found


def _command(leaf: Leaf) -> tuple[str, Sequence[bytes]]:
    """The kind of the command, and the digests that its body can have by its event; none where it is not
    told."""
    if leaf.body == REFUSED:
        try:
            return leaf.field(1, b"").decode(), ()
        except UnicodeDecodeError as error:
            raise NotAttested("the kind of the command is not UTF-8") from error
    if leaf.body == DECIDED:
        return "cancel", [body_digest(leaf.commitments.get("event.decided.reasoning", b""))]
    if leaf.body == COMMENTED:
        return "comment", [body_digest(leaf.commitments.get("event.commented.text", b""))]
    rest = (
        leaf.field(8, b""),
        leaf.commitments.get("event.voted.reason", b""),
        leaf.commitments.get("event.voted.on_behalf_of", b""),
    )
    verdict, content = _VERDICTS.get(leaf.field(2, 0), b""), leaf.field(3, b"")
    # A decision need not name the policy.
    return "decision", [body_digest(verdict, content, policy, *rest) for policy in (leaf.field(7, b""), b"")]


def _joined(*parts: bytes) -> bytes:
    """Each part after its length in 4 bytes, so that the parts can be told apart."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@lru_cache(maxsize=_KEPT)
def _is_signed(public: bytes, signature: bytes, statement: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True
