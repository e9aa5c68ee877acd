"""Reading and waiting from the command line, with a service that a test plays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands import decide as deciding
from placet_cli.commands import queries
from placet_cli.commands import request as requesting
from placet_cli.commands.decide import Verdict
from placet_cli.commands.options import Output
from placet_cli.formatting import due, tier_sentences, vote_sentence
from placet_cli.home import Home
from placet_cli.option_parsers import assignments_of, past_of
from placet_cli.problems import Problem, WrongInput
from placet_cli.session import Session
from placet_client.messages import Selection

ID = "1c9f0e4a-0000-5000-8000-000000000000"
ALICE, BOB = "alice@example.com", "bob@example.com"
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Service:
    """Keeps requests, newest first, and what a list asked for."""

    def __init__(self, *approvals: approval_pb2.Approval) -> None:
        self.approvals = list(approvals)
        self.selections: list[Selection] = []

    async def list(
        self, *, limit: int, states: list[str], **selection: object
    ) -> approval_service_pb2.ListApprovalsResponse:
        self.selections.append({"states": states, **selection})  # type: ignore[typeddict-item]  # a test's shorthand
        found = [
            one
            for one in self.approvals
            if event_pb2.State.Name(one.state).removeprefix("STATE_").lower() in states
        ]
        token = "more" if len(found) > limit else ""
        return approval_service_pb2.ListApprovalsResponse(approvals=found[:limit], next_page_token=token)

    async def policies(self, *, all_versions: bool = False) -> Sequence[approval_pb2.Policy]:
        """The current policy, and one that only older requests keep."""
        names = ["simple", "older"] if all_versions else ["simple"]
        return [approval_pb2.Policy(name=name) for name in names]

    async def get(self, _approval_id: str) -> approval_pb2.Approval:
        return self.approvals[0]

    async def outcome(self, _approval_id: str) -> None:
        return None


def request(number: int, state: event_pb2.State.ValueType = event_pb2.STATE_PENDING) -> approval_pb2.Approval:
    return approval_pb2.Approval(approval_id=f"{number:08d}{ID[8:]}", title=f"request {number}", state=state)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(Home.at(tmp_path))


def serve(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connected(_session: Session, **_more: object) -> AsyncIterator[Service]:
        yield service

    monkeypatch.setattr(Session, "client", connected)


def shown_ids(output: str) -> list[int]:
    return [int(line[:8]) for line in output.splitlines()]


async def test_what_is_open_is_listed_first_and_then_the_newest(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    approved, rejected = event_pb2.STATE_APPROVED, event_pb2.STATE_REJECTED
    service = Service(request(9, approved), request(8), request(7, rejected), request(6))
    serve(service, monkeypatch)
    for limit, listed, more in ((50, [8, 6, 9, 7], False), (3, [8, 6, 9], True), (2, [8, 6], True)):
        await queries.list_requests(session, limit=limit, output=Output.ID)
        told = capsys.readouterr()
        assert shown_ids(told.out) == listed
        assert (f"--limit {limit * 10}" in told.err) is more


async def test_a_list_passes_its_filters_on(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    serve(service, monkeypatch)
    await queries.list_requests(
        session,
        state=[queries.State.APPROVED],
        label=["team=pay", "tier=1"],
        requester=ALICE,
        approver=BOB,
        policy="simple",
        begin="2026-01-02T12:00:00+00:00",
    )
    (selection,) = service.selections
    assert (selection["states"], selection["labels"]) == (["approved"], {"team": "pay", "tier": "1"})
    assert (selection["requester"], selection["approver"], selection["policy"]) == (ALICE, BOB, "simple")
    assert selection["from_create_time"] == NOW
    assert "until_create_time" not in selection


@pytest.mark.parametrize(("state", "status"), [(event_pb2.STATE_APPROVED, 0), (event_pb2.STATE_REJECTED, 3)])
async def test_wait_tells_by_its_exit_status_and_how_to_wait_again(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    state: event_pb2.State.ValueType,
    status: int,
) -> None:
    serve(Service(request(1, state)), monkeypatch)
    found = 0
    try:
        await requesting.wait_for(session, ID, output=Output.ID)
    except typer.Exit as end:
        found = end.exit_code
    assert found == status
    assert "placet wait 1c9f0e4a" in " ".join(capsys.readouterr().err.split())


def pending(*bodies: event_pb2.Event, quorum: int = 1, approvals: int = 0) -> approval_pb2.Approval:
    """A request whose first tier asks two people, and whose next one a third."""
    approval = request(1)
    approval.waiting_for_approval = True
    approval.asked.extend([ALICE, BOB])
    approval.current_tier.CopyFrom(
        approval_pb2.TierStatus(tier=1, name="board", people=[ALICE, BOB], quorum=quorum, approvals=approvals)
    )
    approval.current_tier.due_time.FromDatetime(NOW)
    approval.next_tier.CopyFrom(approval_pb2.TierStatus(tier=2, name="manager", people=["carol@example.com"]))
    for number, body in enumerate(bodies, 1):
        approval.path.add(entry=event_pb2.Entry(number=number, event=body))
    return approval


def asked(person: str) -> event_pb2.Event:
    return event_pb2.Event(asked=event_pb2.Asked(tier=1, person=event_pb2.Erasable(value=person)))


def notified(number: int, *, delivered: bool = True) -> event_pb2.Event:
    """The notice to whom event `number` asked."""
    return event_pb2.Event(
        notified=event_pb2.Notified(delivered=delivered, channel="email", asked_number=number)
    )


OPENED = event_pb2.Event(tier_opened=event_pb2.TierOpened(tier=1))
BOTH = (OPENED, asked(ALICE), asked(BOB))


@pytest.mark.parametrize(
    ("path", "notices"),
    [
        ((), ""),
        (BOTH, ", not notified yet"),
        ((*BOTH, notified(3)), f", {ALICE} not notified yet, {BOB} notified by email"),
        ((*BOTH, notified(2), notified(3)), ", notified by email"),
        (
            (*BOTH, notified(2), notified(3, delivered=False)),
            f", {ALICE} notified by email, {BOB} could not be notified by email",
        ),
        ((OPENED, asked(ALICE), notified(2, delivered=False)), ", could not be notified by email"),
        ((OPENED, asked(ALICE), notified(2), OPENED, asked(BOB)), ", not notified yet"),
    ],
)
def test_a_request_says_who_is_asked_now_whether_they_know_and_who_is_next(
    path: tuple[event_pb2.Event, ...], notices: str
) -> None:
    now, following = tier_sentences(pending(*path))
    assert now == f"Asked now: {ALICE}, {BOB}, tier 1 (board){notices}"
    assert following == "Next: carol@example.com, tier 2 (manager), from 2026-01-02 12:00:00 UTC on"
    assert tier_sentences(request(1, event_pb2.STATE_APPROVED)) == []


def test_a_vote_of_several_is_recorded_with_what_is_missing() -> None:
    said = vote_sentence(pending(quorum=2, approvals=1), yes=True)
    assert said == (
        "Your approval is recorded; 1 of 2. "
        f"Waiting for {ALICE} or {BOB} (1 of 2 approvals), until 2026-01-02 12:00:00 UTC."
    )
    assert vote_sentence(pending(), yes=False).startswith("Your rejection is recorded. Waiting for")
    closed = request(1, event_pb2.STATE_APPROVED)
    closed.outcome.state, closed.outcome.approver = event_pb2.STATE_APPROVED, BOB
    assert vote_sentence(closed, yes=True) == f"Approved by {BOB}."


def test_a_list_says_how_long_there_is() -> None:
    open_one = pending()
    assert due(open_one, NOW - timedelta(minutes=119)) == "1.9 h"
    assert due(open_one, NOW) == "over"
    open_one.deadline_time.FromDatetime(NOW - timedelta(hours=1))
    assert due(open_one, NOW - timedelta(minutes=90)) == "30 min"
    open_one.ClearField("deadline_time")
    open_one.current_tier.ClearField("due_time")
    assert due(open_one, NOW) == "–"
    assert due(request(1, event_pb2.STATE_APPROVED), NOW) == ""


def test_slots_are_assigned_as_people_write_it() -> None:
    given = ["legal=carol@example.com, dan@example.com", f"legal={ALICE}", f"tax={BOB}"]
    legal = ["carol@example.com", "dan@example.com", ALICE]
    assert assignments_of([], [], given) == {"legal": legal, "tax": [BOB]}
    for wrong in ("legal", "legal=", f"={ALICE}", "legal=,"):
        with pytest.raises(WrongInput, match="SLOT=WHO"):
            assignments_of([], [], [wrong])


def test_every_option_that_names_people_takes_several_and_names_the_one_that_is_wrong() -> None:
    people = assignments_of([f"{ALICE},{BOB}"], [ALICE, BOB], [])
    assert people == {"required_approver": [ALICE, BOB], "manager_approver": [ALICE, BOB]}
    for given, named in (
        (([f"{ALICE},bob"], [], []), "--approver bob is not"),
        (([], [ALICE, "bob"], []), "--manager bob is not"),
        (([], [], [f"legal={ALICE},bob"]), "--assign legal=bob is not"),
        (([], [], [f"required_approver={ALICE}"]), "this slot is filled by --approver"),
        (([], [], [f"manager_approver={ALICE}"]), "this slot is filled by --manager"),
    ):
        with pytest.raises(WrongInput, match=named):
            assignments_of(*given)


async def test_a_list_of_a_policy_that_never_was_says_so(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(Service(), monkeypatch)
    with pytest.raises(Problem, match="there is no policy 'nope'") as told:
        await queries.list_requests(session, policy="nope")
    assert told.value.why == "there are simple, older"
    await queries.list_requests(session, policy="older")
    assert "No requests." in capsys.readouterr().out


async def test_a_requester_who_is_no_address_is_taken_as_a_program_and_an_approver_is_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(Service(), monkeypatch)
    await queries.list_requests(session, requester="you")
    assert "you is not an address" in capsys.readouterr().err
    with pytest.raises(WrongInput, match="--approver you"):
        await queries.list_requests(session, approver="you")


def test_votes_of_the_open_tier_are_shown() -> None:
    open_one = pending(quorum=2, approvals=1)
    open_one.current_tier.votes.add(person=BOB, verdict=event_pb2.VERDICT_APPROVE)
    assert f"Votes so far: {BOB} said yes" in tier_sentences(open_one)


def test_a_span_before_now_is_in_the_past_and_a_date_is_local() -> None:
    read = past_of("--since", "2 days")
    assert read is not None
    assert abs(datetime.now(UTC) - timedelta(days=2) - read) < timedelta(seconds=5)
    assert past_of("--since", "2026-01-02T12:00") == NOW
    with pytest.raises(Problem, match="--until soon"):
        past_of("--until", "soon")


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["skip"], None),
        (["perhaps", "s"], None),
        (["a", ""], (Verdict.APPROVE, "")),
        (["maybe", "Reject", "", "too dear"], (Verdict.REJECT, "too dear")),
    ],
)
def test_who_decides_without_a_verdict_sees_the_content_and_is_asked(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[str],
    chosen: tuple[Verdict, str] | None,
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(typer, "prompt", lambda *_given, **_more: answers.pop(0))
    monkeypatch.setattr(deciding, "print_content", lambda session, *_: session.screen.say("EUR 950"))
    content = approval_service_pb2.GetContentResponse()
    assert deciding._ask(session, pending(), content, "") == chosen
    assert answers == []
    assert "EUR 950" in capsys.readouterr().out


def test_without_a_terminal_nobody_is_asked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(Problem, match="say approve or reject") as told:
        deciding._ask(session, pending(), approval_service_pb2.GetContentResponse(), "")
    assert told.value.tries[0].startswith("placet decide 00000001 approve")


@pytest.mark.integration
def test_the_shell_completes_commands_and_imports_nothing_heavy_for_it() -> None:
    code = (
        "import sys\nfrom placet_cli.app import app\n"
        "try: app(prog_name='placet')\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    env = os.environ | {"_PLACET_COMPLETE": "complete_bash", "COMP_WORDS": "placet w", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.split() == ["wait", "watch"]
    assert not {"grpc", "google.protobuf", "placet_client", "rich"} & set(finished.stderr.split())
