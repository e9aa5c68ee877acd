"""Attestations of tests: one key, with which commands and events are signed as ApprovalService signs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from placet.event.v1 import event_pb2
from placet_domain.commands import BaseCommand
from placet_proof import VerifierKey
from placet_proof.attestation import Statement, body_digest, commitment_of
from placet_proof.signer import attestation_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
COMMANDS = {"voted": "decision", "decided": "cancel", "commented": "comment"}
_VERDICTS = {event_pb2.VERDICT_APPROVE: b"APPROVE", event_pb2.VERDICT_REJECT: b"REJECT"}

C = TypeVar("C", bound=BaseCommand)


def public_key(private: Ed25519PrivateKey, until: int | None = None) -> VerifierKey:
    """The public half of a key of attestations."""
    return replace(attestation_key(private), until=until)


KEYS = (public_key(KEY),)
"""The keys that verifiers of tests know."""


def write_keys(folder: Path) -> tuple[Path, Path]:
    """Writes the tests' key, and the public keys; returns both files, as services want them."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / "attestation.pem", folder / "attestation.vkey"
    if not private.exists():
        pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        private.touch(mode=0o600)
        private.write_bytes(pem)
    public.write_text(f"{KEYS[0]}\n")
    return private, public


def key_settings(folder: Path) -> dict[str, Path]:
    """Settings of ApprovalService that name these files."""
    private, public = write_keys(folder)
    return {"attestation_key_file": private, "PLACET_ATTESTATION_KEYS_FILE": public}


def attested(command: C, tenant: str, approval_id: str, key: Ed25519PrivateKey = KEY) -> C:
    """The command as ApprovalService stores it for this request."""
    # By name: a library imports no service, and this runs only where the whole workspace is installed.
    attester = importlib.import_module("placet_approval.attester").Attester(key)
    signed: C = attester.attested(tenant, approval_id, command)
    return signed


def attested_command(tenant: str, approval_id: str, command: BaseCommand) -> BaseCommand:
    """As `attested`, for `PendingCommands`."""
    return attested(command, tenant, approval_id)


def statement_of(
    event: event_pb2.Event, tenant: str, approval_id: str, operator: bool, seed: bytes
) -> Statement:
    """The statement of a command's event, by the event alone. A refused command has an empty body."""
    kind = event.WhichOneof("body") or ""
    seconds = event.time.seconds or 1_700_000_000
    return Statement(
        tenant=tenant,
        approval_id=approval_id,
        command_id=event.cause_id,
        command=COMMANDS.get(kind, event.refused.command),
        body_digest=_body(event, kind, seed),
        sender_kind=event.actor.kind,
        sender=commitment_of(seed, "event.actor.name", event.actor.name.value),
        authenticated_by=event.actor.authenticated_by,
        operator=operator,
        seconds=seconds,
        nanos=event.time.nanos,
    )


def attest(
    event: event_pb2.Event,
    tenant: str,
    approval_id: str,
    *,
    operator: bool = False,
    key: Ed25519PrivateKey = KEY,
    seed: bytes = b"",
    lie: Mapping[str, Any] = MappingProxyType({}),
) -> event_pb2.Event:
    """Signs an event of a command, in place; returns it.

    `lie`: fields of the statement that is signed in place of the right one. Any: of each its type.
    """
    seed = seed or os.urandom(16)
    right = statement_of(event, tenant, approval_id, operator, seed)
    signed = replace(right, **lie)
    service = event.attestation.service
    service.key_id, service.signature = public_key(key).id, key.sign(signed.encoded)
    service.time.seconds, service.time.nanos = right.seconds, right.nanos
    service.body_digest, service.operator, service.salt_seed = right.body_digest, operator, seed
    return event


def attest_all(events: Iterable[event_pb2.Event], tenant: str, approval_id: str) -> list[event_pb2.Event]:
    """The events of one request, in which those of commands are signed anew for this request."""
    return [
        attest(event, tenant, approval_id, operator=event.attestation.service.operator)
        if is_of_command(event)
        else event
        for event in events
    ]


def is_of_command(event: event_pb2.Event) -> bool:
    """True for events that need an attestation."""
    kind = event.WhichOneof("body")
    if kind == "decided":
        return event.decided.source == event_pb2.SOURCE_REQUESTER
    if kind == "refused":
        return event.actor.kind != event_pb2.ACTOR_KIND_SERVICE or bool(event.actor.name.value)
    return kind in ("voted", "commented")


def _body(event: event_pb2.Event, kind: str, seed: bytes) -> bytes:
    if kind == "voted":
        voted = event.voted
        return body_digest(
            _VERDICTS.get(voted.verdict, b""),
            voted.content_digest,
            voted.policy_digest,
            voted.rendering.encode(),
            commitment_of(seed, "event.voted.reason", voted.reason.value),
            commitment_of(seed, "event.voted.on_behalf_of", voted.on_behalf_of.value),
        )
    if kind == "decided":
        return body_digest(commitment_of(seed, "event.decided.reasoning", event.decided.reasoning.value))
    if kind == "commented":
        return body_digest(commitment_of(seed, "event.commented.text", event.commented.text.value))
    return body_digest()
