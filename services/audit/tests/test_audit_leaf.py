"""The bytes of an entry, and what is kept beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import event_pb2
from placet_audit.domain import Disclosure, Draft, Entry
from placet_audit.leaf import disclose, seal
from placet_proof import Leaf
from placet_rpc.errors import DataLoss, InvalidArgument

MakeEvent = Callable[..., event_pb2.Event]

BODIES = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]


def entry_of(event: event_pb2.Event) -> event_pb2.Entry:
    return event_pb2.Entry(tenant="default", approval_id="a" * 36, number=3, event=event)


def placed(draft: Draft) -> Entry:
    return Entry("default", 7, "a" * 36, draft)


def fill(message: Message, secrets: Iterator[str]) -> None:
    """Set every field, at any depth, so that none is forgotten; erasable ones to the next secret."""
    if isinstance(message, event_pb2.Erasable):
        message.value = next(secrets)
        return
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None:
            continue
        if field.is_repeated:
            if field.message_type is not None:
                for _ in range(2):
                    fill(getattr(message, field.name).add(), secrets)
        elif field.message_type is None:
            setattr(message, field.name, SAMPLES[field.type])
        else:
            fill(getattr(message, field.name), secrets)


SAMPLES = {
    FieldDescriptor.TYPE_STRING: "x",
    FieldDescriptor.TYPE_BYTES: b"x",
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_DOUBLE: 0.5,
    FieldDescriptor.TYPE_ENUM: 1,
    FieldDescriptor.TYPE_UINT32: 1,
    FieldDescriptor.TYPE_INT32: 1,
    FieldDescriptor.TYPE_INT64: 1,
}


@pytest.mark.parametrize("body", BODIES)
def test_no_erasable_value_or_salt_of_any_event_is_in_the_hashed_bytes(body: str) -> None:
    secrets: list[str] = []

    def next_secret() -> Iterator[str]:
        while True:
            secrets.append(f"secret-{len(secrets)}")
            yield secrets[-1]

    event = event_pb2.Event()
    supply = next_secret()
    fill(event, supply)
    getattr(event, body).SetInParent()
    fill(getattr(event, body), supply)
    given_event = event_pb2.Event.FromString(event.SerializeToString())

    draft = seal(entry_of(event))

    assert b"secret-" not in draft.leaf
    assert {disclosure.value for disclosure in draft.disclosures} == set(secrets)
    assert all(disclosure.salt not in draft.leaf for disclosure in draft.disclosures)
    answer = disclose(placed(draft)).entry
    strip_proofs(answer)
    assert answer.event == given_event


def strip_proofs(message: Message) -> None:
    if isinstance(message, event_pb2.Erasable):
        message.ClearField("commitment")
        message.ClearField("salt")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else (value,):
                strip_proofs(one)


@given(value=st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
def test_a_commitment_is_the_sha256_of_salt_and_value(value: str) -> None:
    event = event_pb2.Event(
        cause_id="c", fell_back=event_pb2.FellBack(reason=event_pb2.Erasable(value=value))
    )

    draft = seal(entry_of(event))

    (disclosure,) = draft.disclosures
    assert disclosure.path == "event.fell_back.reason"
    assert len(disclosure.salt) == 16
    hashed = event_pb2.Entry.FromString(draft.leaf).event.fell_back.reason
    assert hashed.commitment == hashlib.sha256(disclosure.salt + value.encode()).digest()
    answered = disclose(placed(draft)).entry.event.fell_back.reason
    assert (answered.value, answered.salt, answered.commitment) == (value, disclosure.salt, hashed.commitment)


def test_equal_values_get_unequal_commitments(make_event: MakeEvent) -> None:
    first, second = seal(entry_of(make_event(kind="voted"))), seal(entry_of(make_event(kind="voted")))

    assert first.leaf != second.leaf


def test_an_empty_value_stays_as_it_was_given_and_has_no_commitment(make_event: MakeEvent) -> None:
    event = make_event(kind="voted", reason="")
    event.voted.ClearField("on_behalf_of")

    draft = seal(entry_of(event))

    voted = event_pb2.Entry.FromString(draft.leaf).event.voted
    assert voted.HasField("reason")
    assert not voted.reason.commitment
    assert not voted.HasField("on_behalf_of")
    assert [disclosure.path for disclosure in draft.disclosures] == ["event.actor.name"]


def test_an_erased_field_is_answered_without_value_and_its_commitment_stays(make_event: MakeEvent) -> None:
    draft = seal(entry_of(make_event(kind="voted", reason="fine")))
    kept = tuple(d for d in draft.disclosures if d.path != "event.voted.reason")

    answer = disclose(placed(Draft(draft.number, draft.cause_id, draft.leaf, kept))).entry.event

    assert answer.voted.reason.value == ""
    assert len(answer.voted.reason.commitment) == 32
    assert answer.actor.name.value == "alice@example.com"


def assigned(*slots: list[str]) -> event_pb2.Event:
    """A received request whose slots name these people."""
    event = event_pb2.Event(cause_id="c", received=event_pb2.Received())
    for number, people in enumerate(slots):
        assignment = event.received.assignments.add(slot=f"slot-{number}")
        for person in people:
            assignment.people.add(value=person)
    return event


def test_people_of_assignments_are_sealed_each_at_a_path_of_its_own() -> None:
    draft = seal(entry_of(assigned(["alice@example.com"], ["bob@example.com", "", "carol@example.com"])))

    assert {one.path: one.value for one in draft.disclosures} == {
        "event.received.assignments[0].people[0]": "alice@example.com",
        "event.received.assignments[1].people[0]": "bob@example.com",
        "event.received.assignments[1].people[2]": "carol@example.com",
    }
    assert b"example.com" not in draft.leaf
    leaf = Leaf.parse(draft.leaf)
    assert set(leaf.commitments) == {one.path for one in draft.disclosures}
    for one in draft.disclosures:
        leaf.opened(one.path, one.salt, one.value)
    answered = disclose(placed(draft)).entry.event.received.assignments
    assert [[person.value for person in one.people] for one in answered] == [
        ["alice@example.com"],
        ["bob@example.com", "", "carol@example.com"],
    ]


@pytest.mark.parametrize(
    "path",
    [
        "event.received.assignments[2].people[0]",
        "event.received.assignments[1].people[3]",
        "event.received.assignments[1].people[1]",  # an empty name, without a commitment
        "event.received.assignments[1].people[00]",
        "event.received.assignments[1].people",
        "event.received.assignments.people[0]",
        "event.received.assignments[1]",
    ],
)
def test_a_disclosure_that_fits_no_person_is_reported_as_damage(path: str) -> None:
    draft = seal(entry_of(assigned(["alice@example.com"], ["bob@example.com", "", "carol@example.com"])))
    damaged = Disclosure(path, draft.disclosures[0].salt, draft.disclosures[0].value)

    with pytest.raises(DataLoss):
        disclose(placed(Draft(draft.number, draft.cause_id, draft.leaf, (damaged,))))


def test_times_keep_their_microseconds(make_event: MakeEvent) -> None:
    draft = seal(entry_of(make_event(kind="voted")))

    assert disclose(placed(draft)).entry.event.time.ToMicroseconds() == 1_700_000_000_123_457


def test_a_time_that_is_none_is_refused_by_the_name_of_its_field(make_event: MakeEvent) -> None:
    event = make_event(kind="voted")
    event.received.deadline_time.seconds = 10**15

    with pytest.raises(InvalidArgument) as refusal:
        seal(entry_of(event), field="events[4]")

    assert [violation.field for violation in refusal.value.violations] == ["events[4].received.deadline_time"]


def test_a_field_of_a_newer_contract_is_not_hashed_in_the_clear(
    make_event: MakeEvent,
) -> None:
    event = make_event(kind="voted")
    event.voted.MergeFromString(b"\xfa\x3e\x06secret")  # field 1007, unknown here
    assert len(UnknownFieldSet(event.voted)) == 1

    with pytest.raises(InvalidArgument):
        seal(entry_of(event))


@pytest.mark.parametrize(
    "path",
    [
        "event.nothing",
        "event.cause_id",
        "event.voted.reason[0]",
        "event.voted.on_behalf_of",  # without a commitment
        "event.asked.person",  # of another event
        "?",
        "",
    ],
)
def test_a_disclosure_that_fits_no_field_is_reported_as_damage(make_event: MakeEvent, path: str) -> None:
    draft = seal(entry_of(make_event(kind="voted")))
    (disclosure, *_) = draft.disclosures
    damaged = type(disclosure)(path, disclosure.salt, disclosure.value)

    with pytest.raises(DataLoss):
        disclose(placed(Draft(draft.number, draft.cause_id, draft.leaf, (damaged,))))
