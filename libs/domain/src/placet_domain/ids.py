"""The ids that every part must derive alike."""

from __future__ import annotations

import uuid

# The namespace of approval ids: UUIDv5 of the name "placet.approval" in the URL namespace.
_APPROVALS = uuid.uuid5(uuid.NAMESPACE_URL, "placet.approval")


def approval_id(tenant: str, caller: str, request_id: str) -> str:
    """The id of a request and of its workflow: the same for every retry of the same call.

    The parts are length-prefixed, so that no two different triples give one name.
    """
    parts = (tenant, caller, request_id.lower())
    return str(uuid.uuid5(_APPROVALS, "".join(f"{len(part)}:{part}" for part in parts)))
