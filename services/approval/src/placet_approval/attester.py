"""Attester: signs the commands of authenticated senders with this service's own key."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_domain.attestation import Attestation, ServiceSignature
from placet_domain.commands import BaseCommand
from placet_domain.events import ActorKind
from placet_proof import attestation
from placet_proof.signer import attestation_key
from placet_proof.vocabulary import PERSON, SERVICE

_SENDERS = {ActorKind.PERSON: PERSON, ActorKind.SERVICE: SERVICE}
_SEED_BYTES = 16


class Attester:
    """Signs commands; the statement is that of `placet_proof.attestation`."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = attestation_key(private)

    def attested(self, tenant: str, approval_id: str, command: BaseCommand) -> BaseCommand:
        """Returns the command with an attestation for this request, made now.

        The call's own authentication stands in the command: its actor, and whether it is an operator.
        """
        seed, now = os.urandom(_SEED_BYTES), datetime.now(UTC)

        def commit(path: str, value: str) -> bytes:
            return attestation.commitment_of(seed, path, value)

        body = attestation.body_digest(*command.attested_parts(commit))
        statement = attestation.Statement(
            tenant=tenant,
            approval_id=approval_id,
            command_id=command.id,
            command=command.type,
            body_digest=body,
            sender_kind=_SENDERS[command.actor.kind],
            sender=commit("event.actor.name", command.actor.name),
            authenticated_by=command.actor.authenticated_by,
            operator=command.operator,
            seconds=int(now.timestamp()),
            nanos=now.microsecond * 1000,
        )
        signed = ServiceSignature(
            key_id=self.public.id.hex(),
            signature=self._private.sign(statement.encoded).hex(),
            time=now,
            body_digest=body.hex(),
            operator=command.operator,
            salt_seed=seed.hex(),
        )
        return command.model_copy(update={"attestation": Attestation(service=signed)})
