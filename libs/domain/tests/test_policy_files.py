"""The built-in policies say what SPEC rows 1-4 and 11 say, word by word; operators may add their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from placet_domain.events import DecisionType, Priority, ScreenMode
from placet_domain.policy import Policy
from placet_domain.policy_files import BadPolicy, load

HOUR = timedelta(hours=1)
PRIORITIES = (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)


def timeouts(policy: Policy, tier: int) -> tuple[timedelta | None, ...]:
    """By priority, from urgent to low."""
    return tuple(policy.tiers[tier - 1].timeout_of(priority) for priority in PRIORITIES)


def test_five_policies_are_built_in() -> None:
    assert set(load(None)) == {"simple", "ai-fallback", "escalating", "document", "business-timeouts"}


def test_simple_waits_without_limit_for_a_person() -> None:
    policy = load(None)["simple"]

    assert policy.pre_screen is None
    assert [tier.decision_type for tier in policy.tiers] == [DecisionType.HUMAN]
    assert timeouts(policy, 1) == (None,) * 4
    assert policy.fallback.by == "reject"
    assert policy.slots == ("required_approver",)


def test_ai_fallback_analyses_first_and_lets_the_ai_decide_after_a_day() -> None:
    policy = load(None)["ai-fallback"]

    assert policy.pre_screen is not None
    assert policy.pre_screen.approve_below is None  # the analysis informs, and approves nothing
    assert [tier.decision_type for tier in policy.tiers] == [DecisionType.HUMAN]
    assert timeouts(policy, 1) == (24 * HOUR,) * 4
    assert (policy.fallback.by, policy.fallback.approver) == ("ai", "AI-Fallback")
    assert policy.slots == ("required_approver",)


def test_escalating_asks_for_2_hours_then_the_manager_for_4_then_the_ai() -> None:
    policy = load(None)["escalating"]

    assert policy.pre_screen is None
    assert [tier.slots for tier in policy.tiers] == [("required_approver",), ("manager_approver",)]
    assert [tier.decision_type for tier in policy.tiers] == [DecisionType.HUMAN, DecisionType.MANAGER]
    assert timeouts(policy, 1) == (2 * HOUR,) * 4
    assert timeouts(policy, 2) == (4 * HOUR,) * 4
    assert (policy.fallback.by, policy.fallback.approver) == ("ai", "AI-Fallback")
    assert policy.fallback.rejection == "failed at all levels"


def test_document_approves_low_risk_at_once_in_the_words_of_the_specification() -> None:
    screen = load(None)["document"].pre_screen

    assert screen is not None
    assert (screen.mode, screen.approve_below) == (ScreenMode.DEEP, 0.3)
    assert (screen.approver, screen.reason) == ("AI-Auto-Approved", "Low risk document")


def test_document_waits_by_priority_then_for_the_manager() -> None:
    policy = load(None)["document"]

    assert [tier.slots for tier in policy.tiers] == [("required_approver",), ("manager_approver",)]
    assert [tier.decision_type for tier in policy.tiers] == [DecisionType.HUMAN, DecisionType.MANAGER]
    assert timeouts(policy, 1)[1:] == (2 * HOUR, 8 * HOUR, 24 * HOUR)
    assert timeouts(policy, 1)[0] == 2 * HOUR  # the specification gives URGENT no other time than HIGH
    assert timeouts(policy, 2) == (4 * HOUR,) * 4
    assert policy.tiers[1].message == "Original approver {required_approver} did not respond"


def test_document_falls_back_to_the_ai_and_says_that_neither_responded() -> None:
    fallback = load(None)["document"].fallback

    assert (fallback.by, fallback.approver) == ("ai", "AI-Fallback")
    assert fallback.reason == "Neither {required_approver} nor {manager_approver} responded"


def test_business_timeouts_are_those_of_the_specification() -> None:
    urgent, _high, normal, low = timeouts(load(None)["business-timeouts"], 1)

    assert (urgent, normal, low) == (HOUR, 8 * HOUR, timedelta(days=2))


@pytest.mark.parametrize("name", ["ai-fallback", "document"])
def test_a_pre_screen_has_2_minutes(name: str) -> None:
    screen = load(None)[name].pre_screen
    assert screen is not None
    assert screen.time_limit == timedelta(minutes=2)


def test_every_fallback_has_5_minutes_and_every_wait_ends_or_says_that_it_does_not() -> None:
    for policy in load(None).values():
        assert policy.fallback.time_limit == timedelta(minutes=5)
        assert policy.version == 1
        for number, tier in enumerate(policy.tiers, 1):
            assert tier.timeout == "without limit" or None not in timeouts(policy, number)


OWN = """
name = "simple"
version = 2
description = "Ours."
[[tiers]]
name = "approver"
asks = ["required_approver"]
decision_type = "human"
timeout = "3 h"
[fallback]
by = "ai"
reason = "silence"
rejection = "no"
"""


def test_an_operators_policy_takes_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OWN)
    (tmp_path / "notes.txt").write_text("not a policy")

    policies = load(tmp_path)

    assert timeouts(policies["simple"], 1) == (3 * HOUR,) * 4
    assert len(policies) == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            OWN.replace('"3 h"', '"3 hours"'),
            r"tier 1 \(approver\), timeout: '3 hours' is not a duration; write",
        ),
        (OWN.replace('asks = ["required_approver"]', ""), r"tier 1 \(approver\), asks: is missing"),
        (OWN.replace("required_approver", "Alice"), r"tier 1 \(approver\), asks: 'Alice' has characters"),
        (OWN.replace('by = "ai"', 'by = "dice"'), r"fallback, by"),
        (OWN.replace("version = 2", "version = 2\ncolour = 3"), "colour"),
        (OWN + '[automatic]\nmay = ["sign"]', r"automatic, may: Input should be 'inform', 'reject' or 'appr"),
        (OWN + "[automatic]\nleast_confidence = 0", r"automatic, least_confidence: Input should be greater"),
        (OWN + '[automatic]\nleast_time = "4 h"', r"automatic, least_time: people have 3 h in all when"),
        (
            OWN + "[automatic]\nmost_risk = 0.5",
            r"automatic, most_risk: without a pre-screen no risk is known",
        ),
        (OWN + "[automatic]\nmost_a_year = 1", r"automatic, most_a_year: is no key of a policy"),
        (OWN.replace("[fallback]", "[[fallback"), "line"),
        (OWN.replace("Ours", "\udcff"), "utf-8"),
    ],
    ids=[
        "duration",
        "missing",
        "slot",
        "value",
        "unknown key",
        "may",
        "confidence",
        "time",
        "risk",
        "unknown cap",
        "not TOML",
        "not UTF-8",
    ],
)
def test_a_bad_policy_is_named_with_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "ours.toml").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(BadPolicy, match=rf"ours\.toml: .*{why}"):
        load(tmp_path)


def test_one_mistake_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OWN.replace('"3 h"', '"3 hours"'))

    with pytest.raises(BadPolicy) as raised:
        load(tmp_path)

    assert str(raised.value).count("tier 1 (approver), timeout") == 1


def test_two_files_for_one_policy_are_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(OWN)

    with pytest.raises(BadPolicy, match=r"b\.toml: another file.*'simple'"):
        load(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
