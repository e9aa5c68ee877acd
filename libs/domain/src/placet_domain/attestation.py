"""Attestations of commands as pure data: the messages of placet.event.v1, which say what each field means.

Nothing here signs or verifies. Workflows carry an attestation from the command to its event.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from placet_domain.dto import EPOCH, Dto, Hex

Commit: TypeAlias = Callable[[str, str], bytes]
"""Returns the commitment of a command's event to an erasable value, by path and value; empty without one."""


class ServiceSignature(Dto):
    key_id: Hex = ""
    signature: Hex = ""
    time: datetime = EPOCH
    body_digest: Hex = ""
    operator: bool = False
    salt_seed: Hex = ""


class Attestation(Dto):
    service: ServiceSignature | None = None
