"""Events as the log's grammar reads them: sealed as AuditService does, with their values beside them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

from placet.event.v1 import event_pb2
from placet_domain.events import Event
from placet_mapping import to_proto
from placet_proof import Leaf
from placet_proof.grammar import Path, follow_all

APPROVAL = "1c9f0e4a-0000-5000-8000-000000000000"


def sealed(
    event: event_pb2.Event, number: int, approval_id: str = APPROVAL
) -> tuple[Leaf, Mapping[str, str]]:
    """A request's event in its place, and its erasable values."""
    entry = event_pb2.Entry(tenant="default", approval_id=approval_id, number=number)
    entry.event.CopyFrom(event)
    # By name: a library imports no service, and this runs only where the whole workspace is installed.
    draft = importlib.import_module("placet_audit.leaf").seal(entry)
    return Leaf.parse(draft.leaf), draft.values


def messages(events: Iterable[Event]) -> list[event_pb2.Event]:
    """The events by the contract."""
    return [to_proto(event, event_pb2.Event) for event in events]


def path_of(events: Iterable[event_pb2.Event]) -> Path:
    """A request's path after these events. Raises NotInGrammar."""
    return follow_all(sealed(event, number) for number, event in enumerate(events, 1))
