"""Events as the log's grammar reads them: sealed as AuditService does, with their values beside them."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.event.v1 import event_pb2
from placet_domain.events import Event
from placet_mapping import to_proto
from placet_proof import Checkpoint, Leaf, leaf_hash
from placet_proof.grammar import Path, follow_all
from placet_proof.signer import signed, verifier_key
from placet_testing import merkle

APPROVAL = "1c9f0e4a-0000-5000-8000-000000000000"


# Any: a Draft of AuditService.
def _draft(event: event_pb2.Event, number: int, approval_id: str) -> Any:
    entry = event_pb2.Entry(tenant="default", approval_id=approval_id, number=number)
    entry.event.CopyFrom(event)
    # By name: a library imports no service, and this runs only where the whole workspace is installed.
    return importlib.import_module("placet_audit.leaf").seal(entry)


def sealed(
    event: event_pb2.Event, number: int, approval_id: str = APPROVAL
) -> tuple[Leaf, Mapping[str, str]]:
    """A request's event in its place, and its erasable values."""
    draft = _draft(event, number, approval_id)
    return Leaf.parse(draft.leaf), draft.values


def messages(events: Iterable[Event]) -> list[event_pb2.Event]:
    """The events by the contract."""
    return [to_proto(event, event_pb2.Event) for event in events]


def path_of(events: Iterable[event_pb2.Event]) -> Path:
    """A request's path after these events. Raises NotInGrammar."""
    return follow_all(sealed(event, number) for number, event in enumerate(events, 1))


def receipt_of(events: Sequence[event_pb2.Event], key: Ed25519PrivateKey, log: str) -> dict[str, Any]:
    """The receipt of a log that holds nothing but these events of one request. Any: JSON."""
    drafts = [_draft(event, number, APPROVAL) for number, event in enumerate(events, 1)]
    hashes = [leaf_hash(draft.leaf) for draft in drafts]
    text = Checkpoint(log, len(hashes), merkle.root_of(hashes)).text
    return {
        "approvalId": APPROVAL,
        "checkpoint": f"{text}\n{signed(text, key, log)}",
        "keys": [str(verifier_key(key, log))],
        "entries": [
            {
                "index": str(index),
                "leaf": _encoded(draft.leaf),
                "disclosures": [
                    {"path": one.path, "salt": _encoded(one.salt), "value": one.value}
                    for one in draft.disclosures
                ],
                "proof": [_encoded(one) for one in merkle.path_of(index, hashes)],
            }
            for index, draft in enumerate(drafts)
        ],
    }


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
