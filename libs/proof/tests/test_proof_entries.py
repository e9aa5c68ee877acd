"""Leaves: what they say, in a reader of its own that agrees with protobuf's and breaks on nothing."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import event_pb2
from placet_proof import ERASABLE, ERASED, Leaf, NotProven, commitment, entries

SALT = bytes(range(16))
ID = "1c9f0e4a-0000-5000-8000-000000000000"


def committed(value: str) -> event_pb2.Erasable:
    return event_pb2.Erasable(commitment=sha256(SALT + value.encode()).digest())


def a_vote() -> event_pb2.Entry:
    event = event_pb2.Event(
        actor=event_pb2.Actor(kind=event_pb2.ACTOR_KIND_PERSON, name=committed("alice@example.com")),
        cause_id="c" * 100,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        voted=event_pb2.Voted(
            tier=1, reason=committed("fine"), content_digest=bytes(32), rendering="x" * 200
        ),
    )
    event.time.FromMicroseconds(1_700_000_000_123_457)
    return event_pb2.Entry(tenant="default", approval_id=ID, number=300, event=event)


def an_erasure() -> event_pb2.Entry:
    erased = event_pb2.Erased(approval_id=ID, reason=committed("asked"), values=7)
    return event_pb2.Entry(tenant="default", event=event_pb2.Event(cause_id="erase/1", erased=erased))


def an_unnamed_refusal() -> event_pb2.Entry:
    refused = event_pb2.AccessRefused(method="/a/B", reason="ROLE_REQUIRED", approval_id=ID)
    event = event_pb2.Event(cause_id="r", access_refused=refused)
    event.actor.name.SetInParent()
    return event_pb2.Entry(tenant="dflt-é", event=event)


def raw(entry: event_pb2.Entry) -> bytes:
    return entry.SerializeToString(deterministic=True)


def test_a_leaf_says_where_it_belongs_and_what_it_commits_to() -> None:
    leaf = Leaf.parse(raw(a_vote()))
    assert (leaf.tenant, leaf.approval_id, leaf.number, leaf.body) == ("default", ID, 300, 24)
    assert (leaf.cause_id, leaf.erases, leaf.erased_values) == ("c" * 100, "", 0)
    assert set(leaf.commitments) == {"event.actor.name", "event.voted.reason"}
    leaf.opened("event.voted.reason", SALT, "fine")
    for path, salt, value in [
        ("event.voted.reason", SALT, "Fine"),
        ("event.voted.reason", SALT[:-1], "fine"),
        # Nothing of a value may be passed off as salt.
        ("event.voted.reason", SALT + b"f", "ine"),
        ("event.voted.reason", SALT, "\ud800"),
        ("event.actor.name", SALT, "fine"),
        ("event.voted.on_behalf_of", SALT, "fine"),
        ("event.received.title", SALT, "fine"),
        ("nothing", SALT, "fine"),
    ]:
        with pytest.raises(NotProven):
            leaf.opened(path, salt, value)


def test_an_erasure_names_its_request_and_how_much_was_erased() -> None:
    leaf = Leaf.parse(raw(an_erasure()))
    assert (leaf.approval_id, leaf.body, leaf.erases, leaf.erased_values) == ("", ERASED, ID, 7)
    assert leaf.commitments == {"event.erased.reason": commitment(SALT, "asked")}


def test_an_empty_erasable_field_commits_to_nothing() -> None:
    assert Leaf.parse(raw(an_unnamed_refusal())).commitments == {}


@pytest.mark.parametrize("path", ERASABLE)
def test_every_erasable_field_is_read_where_the_contract_has_it(path: str) -> None:
    entry = event_pb2.Entry(event=event_pb2.Event(paused=event_pb2.Paused()))
    _, *names = path.split(".")
    if names[0] != "actor":
        getattr(entry.event, names[0]).SetInParent()
    found: Any = entry.event
    for name in names:
        found = getattr(found, name.removesuffix("[]"))
        if name.endswith("[]"):
            found.add()
            found = found.add()
    assert isinstance(found, event_pb2.Erasable)
    found.CopyFrom(committed("x"))
    assert Leaf.parse(raw(entry)).commitments == {path.replace("[]", "[1]"): commitment(SALT, "x")}


# An event with repeated erasable values, written by hand: whatever the contract has, the reader must hold.
PEOPLE = ("alice@example.com", "bob@example.com", "carol@example.com")
NESTED = {"event.received.assignments[].people[]": (16, 11, 2), "event.received.title": (16, 2)}


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract whose `received` has assignments with people, and a title."""
    monkeypatch.setattr(entries, "ERASABLE", NESTED)


def field(number: int, *messages: bytes) -> bytes:
    """Each message as one value of a field, with its length in a single byte or two."""
    return b"".join(_varint(number << 3 | 2) + _varint(len(message)) + message for message in messages)


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


def hidden(value: str) -> bytes:
    return field(1, commitment(SALT, value)) if value else b""


def received(*assignments: tuple[str, ...]) -> bytes:
    """A leaf of an event whose assignments name these people; "" is a name that was left empty."""
    body = field(2, hidden("title")) + b"".join(
        field(11, field(1, b"slot") + field(2, *(hidden(person) for person in people)))
        for people in assignments
    )
    return field(1, b"default") + field(4, field(16, body))


@pytest.mark.usefixtures("nested")
def test_each_value_of_a_repeated_field_has_a_path_of_its_own() -> None:
    leaf = Leaf.parse(received(PEOPLE[:1], (), PEOPLE[1:]))
    assert leaf.commitments == {
        "event.received.assignments[0].people[0]": commitment(SALT, "alice@example.com"),
        "event.received.assignments[2].people[0]": commitment(SALT, "bob@example.com"),
        "event.received.assignments[2].people[1]": commitment(SALT, "carol@example.com"),
        "event.received.title": commitment(SALT, "title"),
    }
    leaf.opened("event.received.assignments[2].people[1]", SALT, "carol@example.com")


@pytest.mark.usefixtures("nested")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("event.received.assignments[0].people[1]", "alice@example.com"),  # two people swapped
        ("event.received.assignments[0].people[0]", "bob@example.com"),
        ("event.received.assignments[1].people[0]", "alice@example.com"),  # another assignment
        ("event.received.assignments[0].people[2]", "alice@example.com"),  # out of range
        ("event.received.assignments[9].people[0]", "alice@example.com"),
        ("event.received.assignments[0].people[-1]", "bob@example.com"),
        ("event.received.assignments[0].people[00]", "alice@example.com"),  # other spellings
        ("event.received.assignments[0].people[\u0660]", "alice@example.com"),
        ("event.received.assignments[0].people[ 0]", "alice@example.com"),
        ("event.received.assignments[0].people", "alice@example.com"),
        ("event.received.assignments.people[0]", "alice@example.com"),
        ("event.received.assignments[].people[]", "alice@example.com"),
        ("event.received.assignments[0]", "alice@example.com"),
        ("event.received.title[0]", "title"),
    ],
)
def test_a_value_of_a_repeated_field_is_opened_at_its_own_path_alone(path: str, value: str) -> None:
    leaf = Leaf.parse(received(PEOPLE[:2], PEOPLE[2:]))
    with pytest.raises(NotProven):
        leaf.opened(path, SALT, value)


@pytest.mark.usefixtures("nested")
def test_an_empty_value_keeps_the_places_of_those_behind_it() -> None:
    leaf = Leaf.parse(received(("", "bob@example.com", "")))
    assert [path for path in leaf.commitments if "people" in path] == [
        "event.received.assignments[0].people[1]"
    ]


@pytest.mark.usefixtures("nested")
def test_every_bit_of_a_commitment_and_of_what_opens_it_counts() -> None:
    whole, path = received(PEOPLE[:2], PEOPLE[2:]), "event.received.assignments[0].people[1]"
    start = whole.index(commitment(SALT, PEOPLE[1]))
    for bit in range(8 * 32):
        with pytest.raises(NotProven):
            Leaf.parse(flipped(whole, 8 * start + bit)).opened(path, SALT, PEOPLE[1])
    leaf = Leaf.parse(whole)
    leaf.opened(path, SALT, PEOPLE[1])
    for bit in range(8 * len(SALT)):
        with pytest.raises(NotProven):
            leaf.opened(path, flipped(SALT, bit), PEOPLE[1])
    for bit in range(8 * len(PEOPLE[1])):
        with pytest.raises(NotProven):
            leaf.opened(path, SALT, flipped(PEOPLE[1].encode(), bit).decode(errors="replace"))
    for bit in range(8 * len(path)):
        with pytest.raises(NotProven):
            leaf.opened(flipped(path.encode(), bit).decode(errors="replace"), SALT, PEOPLE[1])


def flipped(text: bytes, bit: int) -> bytes:
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.usefixtures("nested")
@pytest.mark.parametrize(
    "body",
    [
        field(11, field(2, b"\x0a\x03abc")),  # a commitment too short
        field(11, field(2, hidden("a") + field(2, b"in the clear"))),
        field(11, b"\x10\x01"),  # a person that is a number
        field(11, field(2, hidden("a")) + b"\x11" + bytes(8)),  # one of eight bytes
        field(11, b"\x12\x7f"),  # no end
        b"\x58\x01",  # an assignment that is a number
    ],
)
def test_repeated_values_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(NotProven):
        Leaf.parse(field(1, b"default") + field(4, field(16, body)))


def with_value() -> bytes:
    entry = a_vote()
    entry.event.voted.reason.value = "fine"
    return raw(entry)


def with_short_commitment() -> bytes:
    entry = a_vote()
    entry.event.voted.reason.commitment = bytes(31)
    return raw(entry)


def two_bodies() -> bytes:
    return event_pb2.Entry(event=event_pb2.Event()).SerializeToString() + b"\x22\x08\x8a\x01\x00\x92\x01\x00"


# Field 2 of an event is its actor, 3 its cause; 4 of an entry is the event.
MALFORMED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no event": lambda: b"\x0a\x01a",
    "an event without a body": lambda: b"\x22\x02\x1a\x00",
    "two bodies": two_bodies,
    "two events": lambda: raw(a_vote()) + raw(a_vote()),
    "two tenants": lambda: raw(a_vote()) + b"\x0a\x01b",
    "two numbers": lambda: raw(a_vote()) + b"\x18\x01",
    "a number that is text": lambda: raw(an_erasure()) + b"\x1a\x01a",
    "a number of more than 32 bits": lambda: raw(an_erasure()) + b"\x18\x80\x80\x80\x80\x80\x01",
    "a tenant that is a number": lambda: raw(a_vote())[9:] + b"\x08\x01",
    "a tenant of eight bytes": lambda: raw(a_vote())[9:] + b"\x09acmecorp",
    "an event of four bytes": lambda: b"\x0a\x01a\x18\x01\x25\x82\x01\x80\x00",
    "a body of eight bytes": lambda: b"\x0a\x01a\x22\x0a\xf1\x01" + bytes(8),
    "a tenant that is not UTF-8": lambda: raw(a_vote())[9:] + b"\x0a\x01\xff",
    "a body that is a number": lambda: b"\x22\x03\x88\x01\x01",
    "a group": lambda: raw(a_vote()) + b"\x2b\x2c",
    "a field without a number": lambda: raw(a_vote()) + b"\x00\x00",
    "an endless number": lambda: raw(a_vote()) + b"\x28" + b"\x80" * 11,
    "an end in a field": lambda: raw(a_vote()) + b"\x2a\x05abc",
    "an end in a long field": lambda: raw(a_vote()) + b"\x2a\xff\x01abc",
    "an end in a number": lambda: raw(a_vote()) + b"\x28\x80",
    "an end after a tag": lambda: raw(a_vote()) + b"\x2a",
    "an end in eight bytes": lambda: raw(a_vote()) + b"\x29abc",
    "a value in the clear": with_value,
    "a commitment too short": with_short_commitment,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_leaf_or_could_be_read_in_two_ways_is_refused(name: str) -> None:
    with pytest.raises(NotProven):
        Leaf.parse(MALFORMED[name]())


def test_fields_of_a_newer_contract_are_passed_over() -> None:
    # Of each kind: a number, eight bytes, bytes, four bytes.
    assert Leaf.parse(raw(a_vote()) + b"\x50\x01\x59" + bytes(8) + b"\x62\x01a\x6d" + bytes(4)).number == 300


def agrees(found: bytes) -> None:
    """Either it is refused, or protobuf reads the same."""
    try:
        leaf = Leaf.parse(found)
    except NotProven:
        return
    try:
        entry = event_pb2.Entry.FromString(found)
    except DecodeError:
        return  # protobuf refuses it, and so does whoever reads it
    assert (leaf.tenant, leaf.approval_id, leaf.number) == (entry.tenant, entry.approval_id, entry.number)
    assert leaf.cause_id == entry.event.cause_id
    assert (leaf.erases, leaf.erased_values) == (entry.event.erased.approval_id, entry.event.erased.values)
    body = entry.event.WhichOneof("body")
    if body is None:
        assert leaf.body not in entry.event.DESCRIPTOR.fields_by_number
    else:
        assert leaf.body == entry.event.DESCRIPTOR.fields_by_name[body].number


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(found: bytes) -> None:
    agrees(found)


@pytest.mark.slow
@given(
    st.sampled_from([a_vote, an_erasure, an_unnamed_refusal]),
    st.lists(st.tuples(st.integers(0, 600), st.sampled_from("dix"), st.integers(0, 255)), max_size=6),
)
def test_a_damaged_leaf_is_read_as_protobuf_reads_it_or_refused(
    make: Callable[[], event_pb2.Entry], damage: list[tuple[int, str, int]]
) -> None:
    found = bytearray(raw(make()))
    for place, how, byte in damage:
        at = place % (len(found) + 1)
        if how == "i":
            found.insert(at, byte)
        elif at < len(found) and how == "d":
            del found[at]
        elif at < len(found):
            found[at] ^= byte
    agrees(bytes(found))


def test_every_bit_of_a_leaf_can_be_flipped_without_breaking_its_reader() -> None:
    for make in (a_vote, an_erasure, an_unnamed_refusal):
        found = raw(make())
        for bit in range(8 * len(found)):
            agrees(flipped(found, bit))
