"""The content of a verified receipt, read only from the bytes that were verified."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_cli.event_rows import entries, rows
from placet_cli.export_file import entry_json
from placet_cli.times import point
from placet_client import Outcome
from placet_proof import ATTESTATION, COSIGNATURE, Note, NotProven, Proven, VerifierKey, verify_receipt
from placet_proof import read_receipt as parsed_receipt
from placet_text import one_line
from placet_verify import Kind, KnownKeys, advice, kind_of

# JSON, of which the verifier checks every part before it is used; hence Any.
Receipt = Mapping[str, Any]
NONE: Receipt = {}

GONE, WITHHELD = "(erased)", "(withheld)"


@dataclass(frozen=True)
class Proof:
    """A receipt that holds. `by_known_key`: it was verified with keys that did not come with it. `entries`:
    its path as proto3 JSON."""

    proven: Proven
    by_known_key: bool
    path: Sequence[event_pb2.LogEntry]
    entries: Sequence[dict[str, Any]]

    @property
    def events(self) -> list[event_pb2.Event]:
        """The events, in order."""
        return [one.entry.event for one in self.path]

    def first(self, body: str) -> event_pb2.Event | None:
        """The first event of a kind."""
        return next((one for one in self.events if one.WhichOneof("body") == body), None)

    @property
    def withheld(self) -> list[tuple[int, str]]:
        """Undisclosed values without a recorded erasure: the entry's index, and the path in it."""
        return [
            (one.index, path)
            for one in self.proven.entries
            for path in one.withheld
            if not _explained(one.index, self.proven)
        ]

    @property
    def sentence(self) -> str:
        """The outcome with its decider and its time, in a sentence."""
        decided = self.first("decided")
        if decided is None:
            return f"Not decided by its first {entries(len(self.path))}; more may have followed."
        outcome = _outcome(decided)
        if outcome is None:
            return "Decided in a way that this version of placet has no words for."
        return outcome.describe(f" at {point(decided.time)}")

    def as_json(self) -> dict[str, object]:
        """For programs."""
        checkpoint = self.proven.checkpoint
        return {
            "proven": self.by_known_key,
            "consistent": True,
            "approvalId": self.proven.approval_id,
            "sentence": self.sentence,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": base64.b64encode(checkpoint.root).decode(),
            "signers": [{"key": str(key), "time": time} for key, time in self.proven.signers.items()],
            "entries": list(self.entries),
            "withheld": [{"index": index, "path": path} for index, path in self.withheld],
        }


def read_receipt(raw: bytes) -> Receipt:
    """A receipt as it was written; not verified.

    Raises NotProven for what is no JSON object, is too large, or could be read in two ways.
    """
    try:
        found = parsed_receipt(raw)
    except NotProven:
        _check_kind(raw)
        raise
    if "entries" not in found:
        _check_kind(raw)
    return found


def _check_kind(raw: bytes) -> None:
    """Raises NotProven for what another command takes."""
    kind = kind_of(raw)
    if kind in (Kind.EXPORT, Kind.DATABASE):
        raise NotProven(f"{kind}")


def verified(receipt: Receipt, known: KnownKeys) -> Proof:
    """Verifies a receipt with the known keys; without any, checks only that it is consistent.

    Raises NotProven.
    """
    keys = known.of_receipt(_tenant(receipt)) if known.any else own_keys(receipt)
    _check_signers(receipt, keys)
    proven = verify_receipt(receipt, keys)
    path = [_message(one) for one in _read(proven)]
    try:
        # Times that are none, which no AuditService lets into a log.
        rows(path)
        entries = [entry_json(one) for one in path]
    except (json_format.Error, ValueError, OverflowError) as error:
        raise NotProven(f"an entry says what cannot be: {error}") from error
    return Proof(proven, known.any, path, entries)


def advised(receipt: Receipt, known: KnownKeys) -> str:
    """The next step when no known key signed the receipt; "" when that is not the fault."""
    try:
        return advice(str(receipt.get("checkpoint")), known.of_receipt(_tenant(receipt)))
    except NotProven:
        return ""


def own_keys(receipt: Receipt) -> list[VerifierKey]:
    """The keys that a receipt brings along, which whoever made it chose. Raises NotProven."""
    lists = [receipt.get(name, []) for name in ("keys", "attestationKeys")]
    if not all(isinstance(found, list) and all(isinstance(one, str) for one in found) for found in lists):
        raise NotProven("this is not a receipt: its keys are no texts")
    return [VerifierKey.parse(one) for found in lists for one in found]


def _check_signers(receipt: Receipt, keys: Sequence[VerifierKey]) -> None:
    """Raises NotProven where only witnesses are known who signed nothing of it, as is usual."""
    signers = str(receipt.get("checkpoint"))
    keys = [key for key in keys if key.kind != ATTESTATION]
    if keys and all(key.kind == COSIGNATURE and f"— {key.name} " not in signers for key in keys):
        raise NotProven(
            "the key is a witness's, and a receipt carries the signatures of the log alone: give a public "
            "key of the log, as `placet audit checkpoint --keys` prints it"
        )


def _tenant(receipt: Receipt) -> str:
    """The tenant that its checkpoint names, before anything is proven. Raises NotProven.

    A known key must have signed that name, and the entries must be of that tenant.
    """
    note = receipt.get("checkpoint")
    if not isinstance(note, str):
        raise NotProven("this is not a receipt: it has no checkpoint")
    return Note.parse(note).checkpoint.origin.rpartition("/")[2]


@dataclass(frozen=True)
class _Entry:
    index: int
    entry: event_pb2.Entry
    values: Mapping[str, str]


def _read(proven: Proven) -> Iterator[_Entry]:
    for one in proven.entries:
        try:
            entry = event_pb2.Entry.FromString(one.bytes)
        except DecodeError as error:
            raise NotProven(f"entry {one.index} cannot be read") from error
        placeholder = GONE if _explained(one.index, proven) else WITHHELD
        yield _Entry(one.index, entry, dict.fromkeys(one.withheld, placeholder) | dict(one.values))


def _message(one: _Entry) -> event_pb2.LogEntry:
    """The entry with its values in their places."""
    message = event_pb2.LogEntry(index=one.index, entry=one.entry)
    for path, value in one.values.items():
        field: Any = message.entry  # a message, whichever the path names
        for part in path.split("."):
            name, _, index = part.removesuffix("]").partition("[")
            field = getattr(field, name)
            field = field[int(index)] if index else field
        field.value = value
    return message


def _explained(index: int, proven: Proven) -> bool:
    """True when the request was erased after this entry."""
    return proven.erased_at is not None and proven.erased_at > index


def _outcome(event: event_pb2.Event) -> Outcome | None:
    """The decision; None when this version has no name for it."""
    decided = event.decided
    approval = approval_pb2.Approval(
        outcome=approval_pb2.Outcome(
            state=decided.state,
            source=decided.source,
            decision_type=decided.decision_type,
            approver=one_line(decided.approver.value),
            confidence=decided.confidence,
            decide_time=event.time,
            rule=decided.rule,
        )
    )
    try:
        return Outcome.of(approval)
    except ValueError:
        return None
