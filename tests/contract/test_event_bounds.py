"""Policies with the longest words and the longest addresses: each event and call fits its contract.

An event that does not fit would be refused by the log for good, and its request would never end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import protovalidate
import pytest
from google.protobuf.message import Message

from placet.decision.v1 import decision_service_pb2
from placet.event.v1 import event_pb2
from placet_domain.events import AiResult, Assignment, Received, Verdict
from placet_domain.policy import MOST_PEOPLE, MOST_WORDS, Policy
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    Stimulus,
    TierTimeout,
)
from placet_mapping import to_proto
from placet_testing.simulation import Play, ai_says, cancellation, decision
from placet_worker_default.activities import _notification
from placet_workflows import activity_inputs

# The most people of a slot, and the longest address, by the contract of RequestApproval.
PEOPLE, ADDRESS = 20, 254
LONG_SLOT = "s" + "l" * 62
# As much as an AI or a person may say, in the widest characters.
LONG_REASON = "🙂" * 4000


def address(slot: str, number: int) -> str:
    domain = ".".join(["d" * 61] * 3)
    return f"{slot[0]}{number:02}{'x' * 61}@{domain}"[:ADDRESS].ljust(ADDRESS, "d")


def filled_with(slot: str) -> str:
    """The longest words that a policy may hold, with as many people in them as fit."""
    placeholder = f"{{{slot}}}"
    return placeholder * (MOST_WORDS // len(placeholder)) + "🙂" * (MOST_WORDS % len(placeholder))


def longest_policy(by: str) -> Policy:
    """Two tiers and a fallback that say as much as they may about as many people as they may ask."""
    tier = {"decision_type": "human", "timeout": "2 h", "quorum": 20, "name": "n" * 100}
    return Policy.model_validate(
        {
            "name": "longest",
            "version": 2**31 - 1,
            "description": "🙂" * MOST_WORDS,
            "tiers": [
                {**tier, "asks": ["a"], "message": "🙂" * MOST_WORDS},
                {**tier, "asks": ["b", LONG_SLOT], "message": filled_with("a")},
            ],
            "fallback": {
                "by": by,
                "reason": filled_with("b"),
                "rejection": "🙂" * MOST_WORDS,
                "approver": "🙂" * 100,
            },
        }
    )


def longest_play(by: str) -> Play:
    play = Play(longest_policy(by))
    received = play.state.received
    assert isinstance(received, Received)
    sizes = {"a": PEOPLE, "b": PEOPLE, LONG_SLOT: MOST_PEOPLE - PEOPLE}
    people = tuple(
        Assignment(slot=slot, people=tuple(address(slot, number) for number in range(size)))
        for slot, size in sizes.items()
    )
    play.state.received = received.model_copy(update={"assignments": people})
    return play


def approvals(slot: str, number: int) -> list[Stimulus]:
    return [decision(address(slot, one), reason=LONG_REASON) for one in range(number)]


SILENT: list[Stimulus] = [Begin(), TierTimeout(1), TierTimeout(2)]
REJECTED = ai_says(Verdict.REJECT).model_copy(update={"reasoning": LONG_REASON})
PATHS: dict[str, list[Stimulus]] = {
    "approved by a quorum": [Begin(), *approvals("a", 20), decision(address("a", 1)), cancellation()],
    "partly approved": [Begin(), *approvals("a", 5), *SILENT[1:]],
    "rejected by the fallback": [*SILENT, FallbackUnavailable(), FallbackDone(REJECTED)],
    "abstention": [*SILENT, FallbackDone(REJECTED.model_copy(update={"result": AiResult.ABSTAINED}))],
    "deadline": [Begin(), TierTimeout(1), DeadlinePassed()],
    "withdrawn": [Begin(), cancellation()],
}


def violations(messages: Sequence[Message]) -> list[str]:
    return [
        f"{type(message).__name__}: {one.proto.message}"
        for message in messages
        for one in protovalidate.collect_violations(message)
    ]


@pytest.mark.parametrize("by", ["ai", "reject"])
@pytest.mark.parametrize("path", PATHS)
def test_the_longest_words_and_addresses_fit_into_every_event_and_call(path: str, by: str) -> None:
    play = longest_play(by)
    for stimulus in PATHS[path]:
        play.after(timedelta(hours=2)).on(stimulus)
    state = play.state
    calls = [
        activity_inputs.notice_to_assigned(state, "asked-1", tier, assignment)
        for tier in state.tiers
        for assignment in tier.assignments
    ]
    calls += [activity_inputs.notice_of_outcome(state, "outcome", state.requester)] if state.decided else []
    decide = activity_inputs.fallback(state)
    assert violations([to_proto(event, event_pb2.Event) for event in play.events[1:]]) == []
    assert violations([_notification(call) for call in calls]) == []
    request = decision_service_pb2.DecideRequest(circumstances=decide.circumstances)
    assert not [one for one in violations([request]) if "circumstances" in one or "length" in one]


def test_a_policy_whose_own_words_are_too_long_is_refused_when_it_is_read() -> None:
    body = longest_policy("reject").model_dump(mode="json")
    body["tiers"][1]["message"] += "{a}"
    with pytest.raises(ValueError, match="at most 500 characters"):
        Policy.model_validate(body)
