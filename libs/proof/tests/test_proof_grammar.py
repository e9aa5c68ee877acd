"""The log's grammar: its vocabulary is the contract's, and each event is tried in each state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from placet.event.v1 import error_reason_pb2, event_pb2, options_pb2
from placet_domain.policy import GO_ON, Policy
from placet_domain.stimuli import (
    Begin,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    TierTimeout,
)
from placet_proof import vocabulary
from placet_proof.grammar import BEGIN, NotInGrammar, check_of_tenant, follow
from placet_testing.attestation import KEYS, attest_all
from placet_testing.grammar_paths import (
    asking_both,
    messages,
    outcome,
    plain,
    play_events,
    sealed,
)
from placet_testing.simulation import (
    ALICE,
    APPROVAL,
    BOB,
    REQUESTER,
    TENANT,
    Play,
    ai_says,
    decision,
    screened,
)
from placet_testing.workflow_environment import shipped_policy

Events = list[event_pb2.Event]
BODY = event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"]


def going_on(name: str) -> Policy:
    """A shipped policy that waits for no notice, and whose AI needs no content that was read."""
    policy = shipped_policy(name)
    tiers = tuple(tier.model_copy(update={"until_told": GO_ON}) for tier in policy.tiers)
    caps = policy.automatic.model_copy(update={"requires": "nothing", "most_risk": None})
    return policy.model_copy(update={"tiers": tiers, "automatic": caps})


def played(policy: Policy) -> Play:
    """A request that was not processed, and whose notices have no result."""
    return Play(policy, coverage=None, telling=False)


ESCALATING, DOCUMENT = going_on("escalating"), going_on("document")
QUORUM = asking_both(ESCALATING)
# The policy's rules decide alone: its pre-screen has no threshold.
BY_RULE = DOCUMENT.model_copy(
    update={
        "pre_screen": DOCUMENT.pre_screen and DOCUMENT.pre_screen.model_copy(update={"approve_below": None})
    }
)


# The vocabulary equals the contract.


def test_the_kinds_are_those_of_the_contract() -> None:
    assert {field.number: field.name for field in BODY.fields} == vocabulary.KINDS


def test_the_kinds_of_the_tenant_are_those_that_the_contract_places_there() -> None:
    placed = {
        field.number
        for field in BODY.fields
        if body_of(field).GetOptions().Extensions[options_pb2.place] == options_pb2.PLACE_TENANT
    }
    # EraseEvents alone writes it, so that it has no place for appends.
    assert placed | {vocabulary.ERASED} == vocabulary.OF_THE_TENANT


def test_the_enums_are_those_of_the_contract() -> None:
    found = {
        field.number: {
            inner.number: largest(inner.enum_type) for inner in body_of(field).fields if inner.enum_type
        }
        for field in BODY.fields
    }
    assert {kind: enums for kind, enums in found.items() if enums} == vocabulary.ENUMS
    assert largest(event_pb2.ActorKind.DESCRIPTOR) == vocabulary.ACTOR_KINDS


def body_of(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None
    return field.message_type


def largest(enum: EnumDescriptor) -> int:
    assert [value.number for value in enum.values] == list(range(len(enum.values)))
    return len(enum.values) - 1


@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        (vocabulary.State, "STATE"),
        (vocabulary.Source, "SOURCE"),
        (vocabulary.DecisionType, "DECISION_TYPE"),
    ],
)
def test_the_names_of_the_values_are_those_of_the_contract(table: Any, prefix: str) -> None:
    for one in table:
        assert getattr(event_pb2, f"{prefix}_{one.name}") == one.value
    assert vocabulary.PERSON == event_pb2.ACTOR_KIND_PERSON
    assert (vocabulary.APPROVE, vocabulary.REJECT) == (event_pb2.VERDICT_APPROVE, event_pb2.VERDICT_REJECT)
    assert vocabulary.AI_DECIDED_RESULT == event_pb2.AI_RESULT_DECIDED
    assert vocabulary.LOW_RISK == event_pb2.RISK_LEVEL_LOW


# Each event in each state.


def candidates(before: Events) -> dict[str, event_pb2.Event]:
    """An event of each kind, as well formed for this state as can be; of decided, one of each source."""
    play = played(ESCALATING)
    tiers = [one for one in before if one.HasField("tier_opened")]
    asked = [number for number, one in enumerate(before, 1) if one.HasField("asked")]
    told = {one.notified.asked_number for one in before if one.HasField("notified")}
    received = messages(play.events)[0]
    waiting = [number for number in asked if number not in told]
    known = before[0].received if before else received.received
    voted = plain(
        "voted",
        BOB,
        tier=len(tiers),
        verdict=event_pb2.VERDICT_REJECT,
        content_digest=known.content_digest,
        policy_digest=known.policy_digest,
        policy_version=known.policy_version,
    )
    decided = [one.decided for one in before if one.HasField("decided")]
    return {
        "received": received,
        "processed": plain("processed"),
        "pre_screened": plain("pre_screened", result=event_pb2.AI_RESULT_ABSTAINED),
        "tier_opened": plain("tier_opened", tier=len(tiers) + 1, quorum=1),
        "asked": plain("asked", tier=len(tiers)),
        "notified": plain("notified", asked_number=waiting[0] if waiting else 1),
        "timed_out": plain("timed_out", tier=len(tiers), untold_numbers=untold_in_last_tier(before)),
        "escalated": plain("escalated", from_tier=len(tiers), to_tier=len(tiers) + 1),
        "voted": voted,
        "refused": plain("refused", reason=error_reason_pb2.ERROR_REASON_NOT_ASKED),
        "fell_back": plain("fell_back"),
        "ai_decided": plain(
            "ai_decided", result=event_pb2.AI_RESULT_DECIDED, verdict=event_pb2.VERDICT_APPROVE
        ),
        "paused": plain("paused", step="fallback"),
        "decided HUMAN": outcome("HUMAN", "APPROVED", "HUMAN", f"{ALICE}, {BOB}", tier=1),
        "decided AI_PRESCREEN": outcome(
            "AI_PRESCREEN", "APPROVED", "AUTOMATIC", rule="menu", model="rules-1"
        ),
        "decided AI_PRESCREEN without a rule": outcome(
            "AI_PRESCREEN", "APPROVED", "AUTOMATIC", model="rules-1"
        ),
        "decided by a rule": outcome("POLICY", "APPROVED", "AUTOMATIC", rule="menu"),
        "decided POLICY with a rule": outcome("POLICY", "REJECTED", "AUTOMATIC", rule="menu"),
        "decided AI_FALLBACK": outcome("AI_FALLBACK", "APPROVED", "AI_FALLBACK", model="model-1"),
        "decided POLICY": outcome("POLICY", "REJECTED", "AUTOMATIC"),
        "decided REQUESTER": outcome("REQUESTER", "CANCELLED", by=REQUESTER),
        "closed": plain("closed", state=decided[0].state if decided else event_pb2.STATE_APPROVED),
        "access_refused": plain("access_refused"),
        "erased": plain("erased", approval_id=APPROVAL),
        "commented": plain("commented"),
        "fallback_alarm": plain("fallback_alarm"),
        "withheld": plain("withheld"),
        "automation_switched": plain("automation_switched", off=True),
    }


def untold_in_last_tier(before: Events) -> list[int]:
    """Numbers of the `asked` events of the last tier without a delivered notice."""
    delivered = {one.notified.asked_number for one in before if one.notified.delivered}
    tier = max((one.asked.tier for one in before), default=0)
    opened = max((one.tier_opened.tier for one in before), default=0)
    return [
        number
        for number, one in enumerate(before, 1)
        if one.HasField("asked") and one.asked.tier == tier == opened and number not in delivered
    ]


def cut(path: Events, last: str, times: int = 1) -> Events:
    """The path up to the event of this kind, the first or a later one."""
    ends = [number for number, event in enumerate(path, 1) if event.WhichOneof("body") == last]
    return path[: ends[times - 1]]


def screened_low() -> Events:
    """A low risk of content that was not read, so that people are asked."""
    return play_events(played(shipped_policy("document")), PreScreenDone(screened(0.01)))


SILENT = (Begin(), TierTimeout(1), TierTimeout(2), FallbackUnavailable(), FallbackDone(ai_says()))
STATES: dict[str, Callable[[], Events]] = {
    "nothing": list,
    "received": lambda: play_events(played(ESCALATING)),
    "screened low": lambda: cut(play_events(played(DOCUMENT), PreScreenDone(screened(0.01))), "pre_screened"),
    "screened without a threshold": lambda: cut(
        play_events(played(BY_RULE), PreScreenDone(screened(0.9))), "pre_screened"
    ),
    "tier opened": lambda: cut(play_events(played(QUORUM), Begin()), "tier_opened"),
    "asked": lambda: play_events(played(QUORUM), Begin()),
    "one of two voted": lambda: play_events(played(QUORUM), Begin(), decision(ALICE)),
    "both voted": lambda: cut(
        play_events(played(QUORUM), Begin(), decision(ALICE), decision(BOB)), "voted", 2
    ),
    "timed out": lambda: cut(play_events(played(ESCALATING), *SILENT), "timed_out"),
    "escalated": lambda: cut(play_events(played(ESCALATING), *SILENT), "escalated"),
    "second tier": lambda: cut(play_events(played(ESCALATING), *SILENT), "asked", 2),
    "fell back": lambda: cut(play_events(played(ESCALATING), *SILENT), "fell_back"),
    "paused": lambda: cut(play_events(played(ESCALATING), *SILENT), "paused"),
    "AI decided": lambda: cut(play_events(played(ESCALATING), *SILENT), "ai_decided"),
    "decided": lambda: cut(play_events(played(ESCALATING), *SILENT), "decided"),
    "withheld": lambda: cut(screened_low(), "withheld"),
    "withheld low": lambda: cut(screened_low(), "pre_screened"),
    "withheld, AI decided": lambda: [
        *cut(play_events(played(ESCALATING), *SILENT), "paused"),
        plain("withheld"),
        candidates([])["ai_decided"],
    ],
    "closed": lambda: play_events(played(ESCALATING), *SILENT),
}
UNSETTLED = ("both voted", "timed out", "escalated", "AI decided", "withheld, AI decided", "decided")
ASIDE = {"refused"}
OPEN = ASIDE | {"commented", "processed", "pre_screened", "paused", "decided REQUESTER"}
LATE = ASIDE | {"commented", "processed", "notified", "voted", "ai_decided", "decided REQUESTER"}
ALLOWED: dict[str, set[str]] = {
    "nothing": {"received"},
    "received": OPEN | {"tier_opened", "fell_back", "withheld"},
    "screened low": OPEN - {"pre_screened"} | {"tier_opened", "fell_back", "decided AI_PRESCREEN"},
    "screened without a threshold": OPEN - {"pre_screened"}
    | {"tier_opened", "fell_back", "decided by a rule"},
    "tier opened": OPEN | {"asked", "timed_out"},
    "asked": OPEN | {"asked", "notified", "voted", "timed_out"},
    "one of two voted": OPEN | {"notified", "voted", "timed_out"},
    "both voted": {"decided HUMAN"},
    "timed out": {"escalated", "fell_back"},
    "escalated": {"tier_opened"},
    "withheld": OPEN | {"tier_opened", "fell_back"},
    "withheld low": OPEN - {"pre_screened"} | {"tier_opened", "fell_back"},
    "withheld, AI decided": {"decided POLICY"},
    "second tier": OPEN | {"asked", "notified", "voted", "timed_out"},
    "fell back": LATE | {"paused", "decided POLICY", "withheld"},
    "paused": LATE | {"withheld"},
    "AI decided": {"decided AI_FALLBACK"},
    "decided": {"closed"},
    "closed": ASIDE | {"notified"},
}


@pytest.mark.parametrize("state", STATES)
def test_each_kind_of_event_in_each_state_is_allowed_or_refused(state: str) -> None:
    before = STATES[state]()
    path = BEGIN
    for number, event in enumerate(before, 1):
        path = follow(path, *sealed(event, number), KEYS)
    allowed = set()
    for kind, event in candidates(before).items():
        (signed,) = attest_all([event], TENANT, APPROVAL)
        try:
            follow(path, *sealed(signed, len(before) + 1), KEYS)
        except NotInGrammar:
            continue
        allowed.add(kind)
    assert allowed == ALLOWED[state]


@pytest.mark.parametrize("state", STATES)
def test_an_append_ends_where_a_step_ends(state: str) -> None:
    path = BEGIN
    for number, event in enumerate(STATES[state](), 1):
        path = follow(path, *sealed(event, number), KEYS)
    assert path.settled is (state not in UNSETTLED)


@pytest.mark.parametrize("kind", [field.name for field in BODY.fields])
def test_an_event_of_the_tenant_is_one_of_its_kinds(kind: str) -> None:
    leaf, _ = sealed(plain(kind), 0, approval_id="")
    if leaf.body in vocabulary.OF_THE_TENANT:
        check_of_tenant(leaf)
        return
    with pytest.raises(NotInGrammar):
        check_of_tenant(leaf)
