"""The next command after an error helps for that error, in the state of the request, for who acts."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.approval.v1 import approval_pb2
from placet.audit.v1 import error_reason_pb2 as audit_reasons
from placet.event.v1 import error_reason_pb2 as event_reasons
from placet.event.v1 import event_pb2
from placet.rpc.v1 import error_reason_pb2 as rpc_reasons
from placet_cli.commands import decide as deciding
from placet_cli.commands.options import _without_vain_steps
from placet_cli.error_messages import _NEXT, problem_of
from placet_cli.home import Home
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_rpc.errors import (
    FieldViolation,
    InvalidArgument,
    PermissionDenied,
    PlacetError,
    Unauthenticated,
    Unavailable,
)

ID = "1c9f0e4a-0000-5000-8000-000000000000"
ALICE, BOB, EVE = "alice@example.com", "bob@example.com", "eve@example.com"

# Faults of the stack or of a program, which nothing but a look at the stack helps with.
OF_THE_STACK = {
    *("DEPENDENCY_REFUSED", "INTERNAL", "UNDECODABLE", "OTHER_TENANT", "TENANT_REQUIRED"),
    *("GAP", "NOT_IN_GRAMMAR", "NOT_ATTESTED", "NOT_THE_WRITER", "KIND_NOT_SERVED", "PROGRAM_REFUSED"),
}
# Reasons whose kind says what helps.
BY_KIND: dict[str, type[PlacetError]] = {
    **dict.fromkeys(("DEPENDENCY_UNAVAILABLE", "NOT_YET_READ", "STOPPING", "UNAVAILABLE"), Unavailable),
    **dict.fromkeys(("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"), Unauthenticated),
    "CONSTRAINT_VIOLATED": InvalidArgument,
}
REASONS = sorted(
    {
        name.removeprefix("ERROR_REASON_")
        for reasons in (event_reasons, rpc_reasons, audit_reasons)
        for name, _ in reasons.ErrorReason.items()
    }
    - {"UNSPECIFIED"}
)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_next_step_of_its_own(reason: str) -> None:
    kind = BY_KIND.get(reason, PlacetError)
    steps = problem_of(kind("No", reason=reason), ID, "placet show").tries
    assert steps
    assert (steps == ("placet doctor",)) is (reason in OF_THE_STACK)
    assert not any(step.startswith("placet up") for step in steps)


def test_no_step_is_kept_for_a_reason_that_is_none() -> None:
    assert set(_NEXT) <= set(REASONS)


@pytest.mark.parametrize(
    ("field", "rule", "step"),
    [
        ("policy", "there is no policy 'x'", "placet policies"),
        (
            "assignments",
            "slot 'legal' is missing; policy 'x' asks whom it names",
            "placet policies x  (says whom it asks)",
        ),
        ("deadline_time", "is past; it must lie in the future", "--deadline '2 days'"),
        ("request_id", "must be a valid UUID", "the same command without --request-id"),
        ("command_id", "must be a valid UUID", "the same command without --command-id"),
        (f"--assign legal={ALICE}", "is the requester", "--assign legal=SOMEBODY-ELSE"),
    ],
)
def test_a_wrong_field_has_a_step_that_helps(field: str, rule: str, step: str) -> None:
    error = InvalidArgument("No", reason="CONSTRAINT_VIOLATED", violations=[FieldViolation(field, rule)])
    assert problem_of(error, command="placet request").tries == (step,)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("must be at least 1 characters", "must not be empty"),
        ("value length must be at least 1 bytes", "must not be empty"),
        ("must be at most 1 characters", "must be at most 1 character"),
        ("must be at most 200 characters", "must be at most 200 characters"),
    ],
)
def test_a_rule_is_told_in_the_words_of_people(rule: str, said: str) -> None:
    error = InvalidArgument("No", violations=[FieldViolation("title", rule)])
    assert problem_of(error).what == f"--title: {said}"


def request(*, closed: bool = False) -> approval_pb2.Approval:
    """A request of a program, which asks Alice and Bob; Bob has voted."""
    found = approval_pb2.Approval(approval_id=ID, requester="caller", waiting_for_approval=not closed)
    found.asked.extend([ALICE, BOB])
    found.current_tier.votes.add(person=BOB)
    if closed:
        found.outcome.state, found.outcome.approver = event_pb2.STATE_APPROVED, ALICE
        found.outcome.source = event_pb2.SOURCE_HUMAN
    return found


def advice(reason: str, again: str, *, closed: bool = False) -> Problem:
    session = Session(Home.at(Path("home")), identity=EVE)
    error = PermissionDenied("No.", reason=reason)
    told = deciding._refused(session, error, request(closed=closed), again)
    assert isinstance(told, Problem)
    return told


ACTS = [
    ("NOT_ASKED", "decide ID approve", (f"placet decide 1c9f0e4a approve --as {ALICE}",)),
    ("SELF_APPROVAL", "decide ID approve", (f"placet decide 1c9f0e4a approve --as {ALICE}",)),
    ("ALREADY_VOTED", "decide ID approve", (f"placet decide 1c9f0e4a approve --as {ALICE}",)),
    (
        "NOT_INVOLVED",
        "comment ID 'an ID'",
        (
            f"placet comment 1c9f0e4a 'an ID' --as {ALICE}",
            f"placet comment 1c9f0e4a 'an ID' --as {BOB}",
            "placet comment 1c9f0e4a 'an ID'  (without --as, you run the stack and may)",
        ),
    ),
    ("NOT_REQUESTER", "cancel ID", ("placet cancel 1c9f0e4a  (without --as, you run the stack and may)",)),
]


@pytest.mark.parametrize(("reason", "again", "steps"), ACTS, ids=[one[0] for one in ACTS])
def test_who_may_not_act_is_told_who_may_still_and_once_it_is_closed_to_look_at_it(
    reason: str, again: str, steps: tuple[str, ...]
) -> None:
    assert advice(reason, again).tries == (*steps, "placet show 1c9f0e4a")
    closed = advice(reason, again, closed=True)
    assert closed.tries == ("placet show 1c9f0e4a",)
    assert closed.why == f"the request is closed: Approved by {ALICE}."


def test_nobody_is_told_to_act_as_somebody_else_by_a_token_that_says_who_acts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLACET_TOKEN_FILE", str(tmp_path / "token"))
    session = Session(Home.at(tmp_path))
    steps = (
        f"placet decide 1c9f approve --as {ALICE}",
        "placet show 1c9f",
        "placet list  (without --as, all)",
    )
    assert _without_vain_steps(Problem("no", tries=steps), session).tries == ("placet show 1c9f",)
    monkeypatch.delenv("PLACET_TOKEN_FILE")
    assert _without_vain_steps(Problem("no", tries=steps), session).tries == steps
