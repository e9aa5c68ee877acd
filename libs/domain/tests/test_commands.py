"""A command can either be processed and logged, or it is undecodable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from placet_domain.commands import AnyCommand, command_from_json
from placet_domain.events import Actor, ActorKind, Verdict
from placet_testing.simulation import ALICE, BOB, cancellation, comment, decision, person

DECISION = decision(ALICE, command_id="7f3c")


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "x" * 101},
        {"type": "claim"},
        {"verdict": "MAYBE"},
        {"verdict": "UNSPECIFIED"},
        {"reason": "x" * 4001},
        {"rendering": "x" * 51},
        {"rendering_in_force": "x" * 51},
        {"traceparent": "x" * 56},
        {"actor": {"kind": "CLOCK"}},
        {"actor": {"kind": "AI_MODEL", "name": "model-1"}},
        {"actor": {"kind": "POLICY", "name": "document"}},
        {"actor": {"kind": "UNSPECIFIED", "name": ALICE}},
        {"actor": {"kind": "PERSON", "name": ""}},
        {"actor": {"kind": "PERSON", "name": "x" * 255}},
        {"actor": {"kind": "PERSON", "name": ALICE, "authenticated_by": "x" * 201}},
    ],
)
def test_what_no_event_could_hold_is_not_a_command(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AnyCommand.model_validate(DECISION.model_dump(mode="json") | change)


def test_a_command_of_each_kind_crosses_as_json() -> None:
    for command in (DECISION, cancellation(), comment()):
        assert command_from_json(command.model_dump_json()) == command


def test_a_field_of_a_later_version_does_not_stop_an_older_reader() -> None:
    later = DECISION.model_dump(mode="json") | {"on_behalf_of": BOB}
    assert AnyCommand.model_validate(later).root == DECISION


@pytest.mark.parametrize(
    "change",
    [
        {"type": "cancel"},
        {"id": "7f3d"},
        {"actor": person(BOB)},
        {"verdict": Verdict.REJECT},
        {"content_digest": "c1" * 32},
        {"policy_digest": "d0" * 32},
        {"rendering": "text/1"},
        {"reason": "looks wrong"},
    ],
)
def test_another_command_under_the_same_id_has_another_digest(change: dict[str, object]) -> None:
    assert DECISION.model_copy(update=change).digest() != DECISION.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"},
        {"actor": Actor(kind=ActorKind.PERSON, name=ALICE, authenticated_by="another way")},
        {"rendering_in_force": "text/2"},
    ],
)
def test_a_retry_has_the_same_digest(change: dict[str, object]) -> None:
    assert DECISION.model_copy(update=change).digest() == DECISION.digest()


FIELDS = ("reason", "content_digest", "policy_digest", "rendering")
values = st.fixed_dictionaries({name: st.text(alphabet="ab", max_size=3) for name in FIELDS})


@given(values, values)
def test_no_two_commands_share_a_digest_by_the_way_their_fields_join(
    one: dict[str, str], two: dict[str, str]
) -> None:
    digests = {DECISION.model_copy(update=fields).digest() for fields in (one, two)}
    assert (len(digests) == 1) == (one == two)
