"""The log commits: what is lost, late, already there or refused never doubles and never jams."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from placet_domain import interpreter
from placet_domain.events import (
    Actor,
    ActorKind,
    AiDecided,
    AiResult,
    ErrorReason,
    Refused,
    Source,
    State,
    Verdict,
    Withheld,
)
from placet_domain.state import ApprovalState
from placet_domain.stimuli import Undecodable
from placet_testing.conditions import until
from placet_testing.fake_services import deep_model, delivering
from placet_testing.simulation import ALICE, BOB, cancellation, decision, screened
from placet_testing.workflow_environment import ApprovalEnvironment, shipped_policy
from placet_workflows.activity_types import NotifyInput, NotifyResult, Status

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


def assert_sound(numbers: list[int], path: list[str]) -> None:
    assert numbers == list(range(1, len(numbers) + 1))
    assert path.count("decided") == path.count("closed") == 1


async def test_an_append_that_failed_in_the_task_goes_on_as_an_activity(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.refuse = 1
    await request.send(decision(ALICE))
    assert (await request.outcome()).source is Source.HUMAN
    assert request.path.count("voted") == 1


async def test_a_log_that_is_away_for_hours_delays_the_decision_and_loses_nothing(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.refuse = 50
    first, second = decision(ALICE), decision(ALICE, Verdict.REJECT, reason="no")
    await request.send(first)
    await request.send(second)
    outcome = await request.outcome()
    assert outcome.state is State.APPROVED
    assert [event.cause_id for event in request.events if event.command_digest] == [
        *[first.id] * 3,
        second.id,
    ]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_an_append_whose_answer_was_lost_is_not_repeated(
    environment: ApprovalEnvironment, times: int
) -> None:
    environment.services.log.lose = times
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.lose = times
    command = decision(ALICE)
    await request.send(command)
    await request.outcome()
    assert [kind for kind in request.path if kind != "notified"] == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "voted",
        "decided",
        "closed",
    ]
    assert request.path.count("notified") <= 1


@pytest.mark.parametrize("lose", [False, True])
async def test_a_log_that_says_never_holds_the_request_until_it_is_mended(
    environment: ApprovalEnvironment, lose: bool
) -> None:
    request = await environment.request("business-timeouts")
    await request.asks()
    log = environment.services.log
    log.never = True
    log.lose = int(lose)
    await request.send(decision(ALICE))
    await request.silence(25 * timedelta(minutes=1))
    assert "voted" not in request.path
    log.never = False
    assert (await request.outcome()).approver == ALICE


async def test_what_the_log_refuses_shows_in_the_status_and_the_requester_can_end_it(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.forbid = "voted"
    await request.send(decision(ALICE))
    await request.reaches("paused")
    attempts = len(environment.services.log.attempts)
    status = await request.handle.query("get_status", result_type=Status)
    assert "voted is forbidden" in status.paused_reason
    assert len(environment.services.log.attempts) == attempts

    await request.send(cancellation())
    assert (await request.outcome()).state is State.CANCELLED
    assert request.only(Refused).reason is ErrorReason.CLOSED


async def test_what_the_log_takes_later_goes_on_and_the_pause_is_over(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.forbid = "voted"
    await request.send(decision(ALICE))
    await request.reaches("paused")
    environment.services.log.forbid = ""
    assert (await request.outcome()).approver == ALICE
    status = await request.handle.query("get_status", result_type=Status)
    assert status.paused_reason == ""


async def test_what_stands_in_the_log_already_is_folded_and_the_command_processed_again(
    environment: ApprovalEnvironment,
) -> None:
    """The manager's vote was stored by a run that was lost; the command that comes now is late."""
    request = await environment.request("escalating")
    await request.asks()
    first = decision(ALICE)
    stored = ApprovalState()
    for entry in environment.services.log.entries[request.id]:
        stored.fold(entry)
    when = request.events[-1].time + timedelta(seconds=1)
    environment.services.log.intrude = interpreter.respond(shipped_policy("escalating"), stored, first, when)
    late = decision(ALICE, Verdict.REJECT, reason="no")
    await request.send(late)
    outcome = await request.outcome()
    assert (outcome.state, outcome.approver) == (State.APPROVED, ALICE)
    assert request.only(Refused).reason is ErrorReason.CLOSED
    decided = next(event for event in request.events if event.body.type == "decided")
    assert decided.cause_id == first.id
    assert decided.time == when
    assert_sound([entry.entry.number for entry in environment.services.log.entries[request.id]], request.path)


async def test_an_event_of_somebody_else_does_not_push_the_command_away(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    stored = ApprovalState()
    for entry in environment.services.log.entries[request.id]:
        stored.fold(entry)
    when = request.events[-1].time
    stranger = Undecodable(cause_id="undecodable-ab", digest="ab" * 32)
    environment.services.log.intrude = interpreter.respond(shipped_policy("simple"), stored, stranger, when)
    await request.send(decision(ALICE))
    assert (await request.outcome()).approver == ALICE
    assert [kind for kind in request.path if kind != "notified"] == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "refused",
        "voted",
        "decided",
        "closed",
    ]
    assert_sound([entry.entry.number for entry in environment.services.log.entries[request.id]], request.path)


async def test_a_timer_that_rings_while_the_log_is_away_comes_after_the_command_before_it(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("business-timeouts")
    await request.asks()
    await request.silence(7 * HOUR)
    environment.services.log.never = True
    command = decision(BOB)
    await request.send(command)
    await request.silence(HOUR + timedelta(minutes=5))
    environment.services.log.never = False
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert request.path.index("refused") < request.path.index("timed_out")
    assert request.waited(1) > 8 * HOUR


async def test_a_notice_that_comes_while_the_log_is_slow_is_not_forgotten(
    environment: ApprovalEnvironment,
) -> None:
    """The first person's notification ends while the log takes its time with a refusal."""
    told = asyncio.Event()

    async def slowly(request: NotifyInput) -> NotifyResult:
        if request.tier is not None:
            await told.wait()
        return await delivering(request)

    environment.services.notify = slowly
    request = await environment.request("simple")
    await request.reaches("asked")
    await until(lambda: len(environment.services.notified) >= 1)
    log = environment.services.log
    log.open.clear()
    await request.send(decision(BOB))
    await until(lambda: len(log.attempts) >= 2)
    told.set()
    # The append in the task gives up after its second; only then the notice can come in.
    await until(lambda: len(log.attempts) >= 3)
    await until(lambda: len(environment.services.delivered) >= 1)
    log.open.set()
    await request.reaches("refused")
    await request.send(decision(ALICE))
    await request.outcome()
    (notice,) = [event for event in request.events if event.body.type == "notified"]
    assert notice.actor == Actor(kind=ActorKind.SERVICE, name="notification")
    assert request.path.index("refused") < request.path.index("notified")


@pytest.mark.parametrize("lost", [0, 1])
async def test_what_the_log_withholds_at_once_is_asked_and_in_the_fallback_rejected(
    environment: ApprovalEnvironment, lost: int
) -> None:
    environment.services.log.withhold, environment.services.log.lose = "switched off", lost
    environment.services.assess = deep_model(screened(0.1))
    request = await environment.request("document")
    await request.asks()
    assert request.path.index("withheld") < request.path.index("pre_screened") < request.path.index("asked")
    outcome = await request.outcome()
    assert (outcome.state, outcome.source) == (State.REJECTED, Source.POLICY)
    assert [one.reason for one in request.all_of(Withheld)] == ["switched off"] * 2
    assert request.only(AiDecided).result is AiResult.ABSTAINED


async def test_what_was_withheld_before_is_decided_once_the_log_takes_it_again(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.log.withhold = "switched off"
    environment.services.assess = deep_model(screened(0.1))
    request = await environment.request("document")
    await request.asks()
    environment.services.log.withhold = ""
    assert (await request.outcome()).source is Source.AI_FALLBACK
    assert len(request.all_of(Withheld)) == 1
