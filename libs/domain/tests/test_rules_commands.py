"""Commands: permissions, refusals, and each command processed once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.commands import BaseCommand, Command
from placet_domain.events import (
    Assignment,
    Body,
    Closed,
    Decided,
    DecisionType,
    ErrorReason,
    Refused,
    Source,
    State,
    Verdict,
    Voted,
)
from placet_domain.rules.builders import received_of
from placet_domain.stimuli import Begin, FallbackDone, PreScreenDone, TierTimeout, Undecodable
from placet_testing.simulation import (
    ALICE,
    BOB,
    REQUESTER,
    Play,
    ai_says,
    cancellation,
    comment,
    decision,
    screened,
)
from placet_testing.workflow_environment import shipped_policy

HOUR = timedelta(hours=1)


def asked_alice(policy: str = "escalating") -> Play:
    play = Play(shipped_policy(policy))
    play.on(PreScreenDone(screened()) if play.policy.pre_screen else Begin())
    return play


def refusal(bodies: list[Body]) -> Refused:
    (body,) = bodies
    assert isinstance(body, Refused)
    return body


def test_one_vote_of_one_who_was_asked_decides_in_one_append() -> None:
    play = asked_alice()
    voted, decided, closed = play.after(HOUR).on(decision(ALICE))
    assert isinstance(voted, Voted)
    assert voted.verdict is Verdict.APPROVE
    assert isinstance(decided, Decided)
    assert decided == Decided(
        state=State.APPROVED,
        source=Source.HUMAN,
        decision_type=DecisionType.HUMAN,
        tier=1,
        approver=ALICE,
        reasoning="looks right",
    )
    assert closed == Closed(state=State.APPROVED, waited=HOUR)


def test_the_quorum_is_one_and_the_log_says_so() -> None:
    play = asked_alice()
    assert play.state.last_tier is not None
    assert play.state.last_tier.quorum == 1
    assert [tier.quorum for tier in play.policy.tiers] == [1, 1]


def test_the_events_of_a_command_carry_its_id_its_digest_its_trace_and_its_sender() -> None:
    play = asked_alice()
    command = decision(ALICE).model_copy(update={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})
    play.on(command)
    for event in play.events[-3:]:
        assert event.cause_id == command.id
        assert event.command_digest == command.digest()
        assert event.traceparent == command.traceparent
        assert event.actor == command.actor


def test_a_rejection_is_final_and_the_ai_is_not_asked() -> None:
    play = asked_alice()
    play.on(decision(ALICE, Verdict.REJECT, reason="wrong account"))
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.HUMAN)
    assert play.after(24 * HOUR).on(TierTimeout(1), FallbackDone(ai_says())) == []


@pytest.mark.parametrize(
    ("command", "reason", "words"),
    [
        (decision(BOB), ErrorReason.NOT_ASKED, "Only those who were asked can decide"),
        (decision("mallory@example.com"), ErrorReason.NOT_ASKED, "Only those who were asked can decide"),
        (
            decision(ALICE, content_digest="c1" * 32),
            ErrorReason.CONTENT_CHANGED,
            "The decision names other content than the request's; look again",
        ),
        (
            decision(ALICE, content_digest=""),
            ErrorReason.CONTENT_CHANGED,
            "The decision names other content than the request's; look again",
        ),
        (
            decision(ALICE, Verdict.REJECT, reason=""),
            ErrorReason.REASON_REQUIRED,
            "A rejection needs a reason",
        ),
        (
            decision(ALICE, Verdict.REJECT, reason=" \n"),
            ErrorReason.REASON_REQUIRED,
            "A rejection needs a reason",
        ),
        (
            decision(REQUESTER),
            ErrorReason.SELF_APPROVAL,
            "The requester cannot decide the request: four eyes are needed",
        ),
        (
            decision(REQUESTER, Verdict.REJECT, reason="no"),
            ErrorReason.SELF_APPROVAL,
            "The requester cannot decide the request: four eyes are needed",
        ),
        (
            cancellation(ALICE),
            ErrorReason.NOT_REQUESTER,
            "Only the requester or an operator can cancel the request",
        ),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(
    command: BaseCommand, reason: ErrorReason, words: str
) -> None:
    play = asked_alice()
    assert command.refusal(play.state) is reason
    refused = refusal(play.on(command))
    assert refused == Refused(command=command.type, reason=reason, message=words)
    result = play.state.commands[command.id]
    assert (result.refusal, result.message) == (reason, words)
    assert play.state.decided is None
    assert play.on(decision(ALICE))[-1] == Closed(state=State.APPROVED, waited=timedelta(0))


def test_an_approval_needs_no_reason() -> None:
    play = asked_alice()
    play.on(decision(ALICE, reason=""))
    assert play.outcome.state is State.APPROVED


def test_who_is_asked_about_an_own_request_still_cannot_decide_it() -> None:
    play = Play(shipped_policy("simple"))
    received = received_of(play.state).model_copy(
        update={"assignments": (Assignment(slot="required_approver", people=(REQUESTER,)),)}
    )
    play.state.received = received
    play.on(Begin())
    assert REQUESTER in play.state.asked
    assert refusal(play.on(decision(REQUESTER))).reason is ErrorReason.SELF_APPROVAL


@pytest.mark.parametrize("early", [decision(ALICE), comment(ALICE)])
def test_who_will_be_asked_waits_until_then_instead_of_being_refused(early: Command) -> None:
    play = Play(shipped_policy("document"))
    assert play.on(early) == []
    play.on(PreScreenDone(screened(0.9)))
    assert play.on(early)[0].type in ("voted", "commented")


def test_who_is_not_asked_first_waits_for_the_first_tier_and_is_refused_then() -> None:
    play = Play(shipped_policy("document"))
    early = decision(BOB)
    assert play.on(early) == []
    play.on(PreScreenDone(screened(0.9)))
    assert refusal(play.on(early)).reason is ErrorReason.NOT_ASKED


def test_a_stranger_is_refused_before_anybody_is_asked() -> None:
    play = Play(shipped_policy("document"))
    assert refusal(play.on(decision("mallory@example.com"))).reason is ErrorReason.NOT_ASKED


def test_an_early_decision_that_comes_too_late_is_told_of_the_outcome() -> None:
    play = Play(shipped_policy("document"))
    early = decision(ALICE)
    assert play.on(early, PreScreenDone(screened(0.1)))[-1].type == "closed"
    assert refusal(play.on(early)).reason is ErrorReason.CLOSED


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (decision(ALICE), f"The request is closed: approved by {ALICE}"),
        (decision(ALICE, Verdict.REJECT, reason="no"), f"The request is closed: rejected by {ALICE}"),
        (cancellation(), f"The request is closed: cancelled by {REQUESTER}"),
    ],
)
def test_after_the_outcome_every_command_is_refused_and_told_what_it_was(
    first: BaseCommand, words: str
) -> None:
    play = asked_alice()
    play.on(first)
    operator = cancellation("root@example.com", operator=True)
    for late in (decision(ALICE, Verdict.REJECT, reason="no"), cancellation(), operator):
        refused = refusal(play.on(late))
        assert (refused.reason, refused.message) == (ErrorReason.CLOSED, words)


@pytest.mark.parametrize(
    ("command", "reason"),
    [(decision(BOB), ErrorReason.NOT_ASKED), (cancellation(BOB), ErrorReason.NOT_REQUESTER)],
)
def test_a_stranger_is_told_the_same_before_the_outcome_and_after_it(
    command: BaseCommand, reason: ErrorReason
) -> None:
    play = asked_alice()
    before = refusal(play.on(command.model_copy(update={"id": "before"})))
    play.on(decision(ALICE))
    after = refusal(play.on(command))
    assert before == after
    assert after.reason is reason


def test_the_same_command_is_processed_once() -> None:
    play = asked_alice()
    command = decision(ALICE)
    assert len(play.on(command)) == 3
    assert play.on(command, command) == []
    refused = decision(BOB)
    assert len(play.on(refused)) == 1
    assert play.on(refused) == []


def test_another_command_under_a_known_id_does_nothing_and_the_first_stays_known() -> None:
    play = asked_alice()
    first = decision(BOB)
    play.on(first)
    again = decision(ALICE, command_id=first.id)
    assert play.on(again) == []
    assert play.state.decided is None
    assert play.state.commands[first.id].digest == first.digest()


def test_a_refused_command_does_not_become_effective_when_its_sender_is_asked_later() -> None:
    play = asked_alice()
    early = decision(BOB)
    play.on(early, TierTimeout(1))
    assert play.on(early) == []
    play.on(decision(BOB))
    assert play.outcome.approver == BOB


@pytest.mark.parametrize("operator", [False, True])
def test_the_requester_or_an_operator_cancels(operator: bool) -> None:
    play = asked_alice()
    sender = "operator@example.com" if operator else REQUESTER
    play.on(cancellation(sender, operator=operator))
    assert play.outcome == Decided(
        state=State.CANCELLED, source=Source.REQUESTER, approver=sender, reasoning="no longer needed"
    )


def test_a_command_that_cannot_be_read_is_refused_once() -> None:
    play = asked_alice()
    unreadable = Undecodable(cause_id="undecodable-12ab", digest="12ab" * 16)
    refused = refusal(play.on(unreadable))
    assert refused == Refused(
        command="unknown", reason=ErrorReason.UNDECODABLE, message="The command could not be read"
    )
    assert play.on(unreadable) == []
    assert play.state.commands["undecodable-12ab"].refusal is ErrorReason.UNDECODABLE


def test_who_was_asked_first_may_still_decide_in_the_second_tier_and_counts_for_the_first() -> None:
    play = asked_alice()
    play.after(2 * HOUR).on(TierTimeout(1))
    play.on(decision(ALICE))
    assert (play.outcome.decision_type, play.outcome.tier) == (DecisionType.HUMAN, 1)


def test_the_manager_counts_as_manager() -> None:
    play = asked_alice()
    play.after(2 * HOUR).on(TierTimeout(1))
    play.on(decision(BOB))
    assert (play.outcome.decision_type, play.outcome.tier) == (DecisionType.MANAGER, 2)


@pytest.mark.parametrize("person", [ALICE, BOB])
def test_a_persons_decision_before_the_ais_wins(person: str) -> None:
    play = asked_alice()
    play.after(2 * HOUR).on(TierTimeout(1))
    play.after(4 * HOUR).on(TierTimeout(2))
    play.on(decision(person, Verdict.REJECT, reason="late but no"), FallbackDone(ai_says()))
    assert (play.outcome.source, play.outcome.approver) == (Source.HUMAN, person)
    assert "ai_decided" not in play.path


def test_a_persons_decision_after_the_ais_is_refused() -> None:
    play = asked_alice()
    play.after(timedelta(hours=6)).on(TierTimeout(1), TierTimeout(2), FallbackDone(ai_says()))
    refused = refusal(play.on(decision(ALICE)))
    assert refused.message == "The request is closed: approved by AI-Fallback"


def test_everyone_who_was_asked_is_known_by_the_tier_they_were_asked_in() -> None:
    play = asked_alice()
    play.on(TierTimeout(1))
    assert play.state.asked == {ALICE: 1, BOB: 2}
    assert [tier.people for tier in play.state.tiers] == [(ALICE,), (BOB,)]
