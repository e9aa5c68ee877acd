"""Events as the log's grammar reads them: sealed as AuditService does, with their values beside them."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.event.v1 import event_pb2
from placet_domain.events import Event
from placet_domain.policy import Policy
from placet_mapping import to_proto
from placet_proof import Checkpoint, Leaf, leaf_hash
from placet_proof.grammar import Path, follow_all
from placet_proof.signer import signed, verifier_key
from placet_testing import merkle
from placet_testing.attestation import KEYS
from placet_testing.simulation import APPROVAL, BOB, TENANT, Play


# Any: a Draft of AuditService.
def _draft(event: event_pb2.Event, number: int, approval_id: str) -> Any:
    entry = event_pb2.Entry(tenant=TENANT, approval_id=approval_id, number=number)
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
    return follow_all((sealed(event, number) for number, event in enumerate(events, 1)), KEYS)


def receipt_of(events: Sequence[event_pb2.Event], key: Ed25519PrivateKey, log: str) -> dict[str, Any]:
    """The receipt of a log that holds nothing but these events of one request. Any: JSON."""
    drafts = [_draft(event, number, APPROVAL) for number, event in enumerate(events, 1)]
    hashes = [leaf_hash(draft.leaf) for draft in drafts]
    text = Checkpoint(log, len(hashes), merkle.root_of(hashes)).text
    return {
        "approvalId": APPROVAL,
        "checkpoint": f"{text}\n{signed(text, key, log)}",
        "keys": [str(verifier_key(key, log))],
        "attestationKeys": [str(one) for one in KEYS],
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


def asking_both(policy: Policy) -> Policy:
    """A policy of two tiers, in whose first one both tiers' people must approve."""
    first, second = policy.tiers
    both = first.model_copy(update={"asks": first.asks + second.asks, "quorum": 2})
    return policy.model_copy(update={"tiers": (both, second)})


def play_events(play: Play, *stimuli: Any) -> list[event_pb2.Event]:  # Any: stimuli
    """Events of a request after these stimuli, an hour apart."""
    for stimulus in stimuli:
        play.after(timedelta(hours=1)).on(stimulus)
    return messages(play.events)


def plain(kind: str, person: str = "", **fields: Any) -> event_pb2.Event:  # Any: fields of a message
    event = event_pb2.Event(cause_id="forged", **{kind: getattr(event_pb2, camel(kind))(**fields)})
    event.actor.kind = event_pb2.ACTOR_KIND_PERSON if person else event_pb2.ACTOR_KIND_SERVICE
    if person:
        event.actor.name.value = person
    return event


def camel(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))


def outcome(
    source: str, state: str, kind: str = "UNSPECIFIED", by: str = "", **fields: Any
) -> event_pb2.Event:
    event = plain(
        "decided",
        by or BOB,
        source=getattr(event_pb2, f"SOURCE_{source}"),
        state=getattr(event_pb2, f"STATE_{state}"),
        decision_type=getattr(event_pb2, f"DECISION_TYPE_{kind}"),
        **fields,
    )
    event.decided.approver.value = by
    return event
