"""AppendEvents refuses what the log's grammar does not allow, whoever writes it, and stores nothing of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import pytest

from placet.event.v1 import event_pb2
from placet_audit import domain
from placet_audit.domain import Append, Placed
from placet_audit.leaf import seal
from placet_audit.log_keys import LogKeys
from placet_audit.store import Store
from placet_domain.stimuli import Begin
from placet_rpc.errors import FailedPrecondition
from placet_storage import Database
from placet_testing.attestation import attest_all
from placet_testing.grammar_paths import messages
from placet_testing.simulation import ALICE, BOB, Play, decision
from placet_testing.workflow_environment import shipped_policy

TENANT = "default"
Events = Sequence[event_pb2.Event]


def play() -> list[event_pb2.Event]:
    """A request that alice approves: received, opened, asked; voted, decided, closed."""
    played = Play(shipped_policy("simple"), coverage=None, telling=False)
    played.on(Begin(), decision(ALICE))
    return messages(played.events)


def append_of(approval_id: str, expected_next: int, events: Events) -> Append:
    drafts = []
    for number, event in enumerate(attest_all(events, TENANT, approval_id), expected_next):
        entry = event_pb2.Entry(tenant=TENANT, approval_id=approval_id, number=number)
        entry.event.CopyFrom(event)
        drafts.append(seal(entry))
    return Append(TENANT, approval_id, expected_next, tuple(drafts))


async def appended(store: Store, approval_id: str, expected_next: int, events: Events) -> Placed:
    (placed,) = await store.append([append_of(approval_id, expected_next, events)])
    if isinstance(placed, FailedPrecondition):
        raise placed
    return placed


def without_vote(path: list[event_pb2.Event]) -> None:
    path.pop(3)


def decided_twice(path: list[event_pb2.Event]) -> None:
    path += path[-2:]


def without_received(path: list[event_pb2.Event]) -> None:
    path.pop(0)


def unknown_state(path: list[event_pb2.Event]) -> None:
    path[-2].decided.state = path[-1].closed.state = 99  # type: ignore[assignment]  # not one of the contract's


def not_closed(path: list[event_pb2.Event]) -> None:
    path.pop()


def by_somebody_else(path: list[event_pb2.Event]) -> None:
    for event in path[3:]:
        event.actor.name.value = BOB
    path[-2].decided.approver.value = BOB


FORGED: list[Callable[[list[event_pb2.Event]], None]] = [
    without_vote,
    decided_twice,
    without_received,
    unknown_state,
    not_closed,
    by_somebody_else,
]


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
async def test_a_forged_path_is_refused_whole_or_in_parts(
    store: Store, forge: Callable[[list[event_pb2.Event]], None]
) -> None:
    path = play()
    forge(path)
    with pytest.raises(FailedPrecondition) as refused:
        await appended(store, "whole", 1, path)
    assert refused.value.reason == "NOT_IN_GRAMMAR"
    placed = await store.append([append_of("parts", 1, path[:3]), append_of("parts", 4, path[3:])])
    assert any(isinstance(one, FailedPrecondition) for one in placed)
    assert (await store.entries_of_request(TENANT, "whole", limit=10)).entries == []


async def test_the_path_is_read_anew_where_it_is_not_kept_or_another_replica_wrote(
    store: Store, database: Database, log_keys: LogKeys
) -> None:
    path, other = play(), Store(database, log_keys)
    await appended(store, "r", 1, path[:1])
    await appended(other, "r", 2, path[1:3])
    with pytest.raises(FailedPrecondition):
        await appended(store, "r", 4, path[4:])
    await appended(store, "r", 4, path[3:])
    with pytest.raises(FailedPrecondition):
        await appended(other, "r", 7, path[-2:])


async def test_what_is_refused_harms_no_other_append_of_its_batch(store: Store) -> None:
    path = play()
    results = await store.append(
        [append_of("a", 1, path[1:]), append_of("b", 1, path[:3]), append_of("b", 4, path[3:])]
    )
    assert [isinstance(one, Placed) for one in results] == [False, True, True]
    assert await store.size(TENANT) == len(path)


async def test_the_paths_that_are_kept_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = play()
    monkeypatch.setattr("placet_audit.store._PATHS", 2)
    ids = [str(uuid.uuid4()) for _ in range(5)]
    for one in ids:
        await appended(store, one, 1, path[:1])
    assert len(store._paths) == 2  # the bound is the promise
    for one in ids:
        await appended(store, one, 2, path[1:])


async def test_an_entry_written_beneath_the_check_has_no_effect_and_is_told(
    store: Store, database: Database, log_keys: LogKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = play()
    await appended(store, "r", 1, path[:3])
    with monkeypatch.context() as unchecked:
        unchecked.setattr(domain, "_followed", lambda path, drafts, keys: (path, None))
        await appended(Store(database, log_keys), "r", 4, path[4:])
    faults = await store.faults(TENANT, "r")
    assert set(faults) == {4, 5}
    # Alice's own decision has its effect all the same.
    await appended(store, "r", 6, path[3:])
    assert set(await store.faults(TENANT, "r")) == {4, 5}
