"""Signals: a command, or what cannot be read as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from placet_domain.commands import AnyCommand, BaseCommand
from placet_domain.stimuli import Undecodable
from placet_workflows.names import COMMAND_SIGNAL


def read_signal(name: str, payloads: Sequence[Payload]) -> BaseCommand | Undecodable:
    """The command in a signal."""
    command = _decoded(payloads[0]) if name == COMMAND_SIGNAL and len(payloads) == 1 else None
    if command is not None:
        return command
    digest = hashlib.sha256(b"".join(payload.data for payload in payloads)).hexdigest()
    return Undecodable(cause_id=f"undecodable-{digest[:32]}", digest=digest)


def _decoded(payload: Payload) -> BaseCommand | None:
    """The command in a signal's payload; None when it holds none."""
    try:
        decoded: object = workflow.payload_converter().from_payload(payload, AnyCommand)
    except Exception:  # noqa: BLE001 - any decoding error becomes a refusal
        return None
    # Payloads that are not JSON are returned undecoded.
    command = decoded.root if isinstance(decoded, AnyCommand) else None
    # One without an attestation did not come from the command handler, and the log takes no event of it.
    return None if command is None or command.attestation is None else command
