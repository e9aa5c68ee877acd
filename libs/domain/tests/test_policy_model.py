"""A policy is closed data: what the interpreter does not know is an error."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.events import Assignment, Priority
from placet_domain.policy import Policy, fill_slots
from placet_domain.policy_description import describe_caps, describe_steps
from placet_testing.workflow_environment import shipped_policy

MINIMAL = """
name = "minimal"
version = 1
description = "One person."
[[tiers]]
name = "approver"
asks = ["required_approver"]
decision_type = "human"
timeout = "2 h"
[fallback]
by = "reject"
reason = "nobody responded"
rejection = "no decision"
"""
SHIPPED = ("simple", "ai-fallback", "escalating", "document", "business-timeouts")


def changed(before: str, after: str) -> str:
    assert MINIMAL.count(before) == 1
    return MINIMAL.replace(before, after)


def test_a_policy_of_one_tier_is_enough() -> None:
    policy = Policy.from_toml(MINIMAL)
    assert policy.tiers[0].timeout_of(Priority.NORMAL) == timedelta(hours=2)
    assert policy.pre_screen is None
    assert policy.slots == ("required_approver",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version = 1", "version = 1\nescalate = true"),
        ('timeout = "2 h"', 'timeout = "2 h"\nreminder = "1 h"'),
        ('rejection = "no decision"', 'rejection = "no decision"\nretries = 3'),
        ("[[tiers]]", '[pre_screen]\nmode = "quick"\nthreshold = 0.3\n[[tiers]]'),
        (
            'timeout = "2 h"',
            'timeout = { urgent = "1 h", high = "1 h", normal = "1 h", low = "1 h", none = "1 h" }',
        ),
    ],
)
def test_a_key_that_nobody_knows_is_refused(before: str, after: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Policy.from_toml(changed(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name = "minimal"', 'name = "Minimal Policy"'),
        ("version = 1", "version = 0"),
        ('asks = ["required_approver"]', "asks = []"),
        ('asks = ["required_approver"]', 'asks = ["Not A Slot"]'),
        ('asks = ["required_approver"]', 'asks = [{ person = "nobody" }]'),
        ('asks = ["required_approver"]', 'asks = [{ group = "finance" }]'),
        ('asks = ["required_approver"]', 'asks = [{ manager_of = "required_approver" }]'),
        ('reason = "nobody responded"', 'reason = "{manager_approver} was silent"'),
        ('timeout = "2 h"', f'timeout = "2 h"\nmessage = "{"x" * 501}"'),
        ('decision_type = "human"', 'decision_type = "robot"'),
        ('timeout = "2 h"', "timeout = 7200"),
        ('timeout = "2 h"', 'timeout = "forever"'),
        ('timeout = "2 h"', 'timeout = { urgent = "1 h", high = "1 h", normal = "1 h" }'),
        ('timeout = "2 h"', 'timeout = "2 h"\nquorum = 0'),
        ('by = "reject"', 'by = "coin"'),
        ("[[tiers]]", '[pre_screen]\nmode = "quick"\napprove_below = 1.5\n[[tiers]]'),
        ("[[tiers]]", '[pre_screen]\nmode = "psychic"\n[[tiers]]'),
        ('timeout = "2 h"\n', ""),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(before: str, after: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Policy.from_toml(changed(before, after))


def test_a_tier_that_could_never_be_reached_is_refused() -> None:
    tier = MINIMAL[MINIMAL.index("[[tiers]]") : MINIMAL.index("[fallback]")]
    endless = tier.replace('"2 h"', '"without limit"')
    with pytest.raises(ValueError, match="never reached"):
        Policy.from_toml(MINIMAL.replace(tier, endless + tier))


def test_a_policy_without_people_is_refused() -> None:
    tier = MINIMAL[MINIMAL.index("[[tiers]]") : MINIMAL.index("[fallback]")]
    with pytest.raises(ValueError, match="tiers"):
        Policy.from_toml("tiers = []\n" + MINIMAL.replace(tier, ""))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_policy_comes_back_from_its_canonical_body_with_the_same_digest(name: str) -> None:
    policy = shipped_policy(name)
    again = Policy.model_validate_json(policy.canonical())
    assert again == policy
    assert again.digest() == policy.digest()


def test_the_digest_follows_the_meaning_not_the_writing() -> None:
    rewritten = changed('timeout = "2 h"', 'timeout = "120 min"   # the same')
    assert Policy.from_toml(rewritten).digest() == Policy.from_toml(MINIMAL).digest()
    other = changed('timeout = "2 h"', 'timeout = "121 min"')
    assert Policy.from_toml(other).digest() != Policy.from_toml(MINIMAL).digest()


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("name", "tier", "urgent", "high", "normal", "low"),
    [
        ("simple", 1, None, None, None, None),
        ("ai-fallback", 1, 24 * HOUR, 24 * HOUR, 24 * HOUR, 24 * HOUR),
        ("escalating", 1, 2 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR),
        ("escalating", 2, 4 * HOUR, 4 * HOUR, 4 * HOUR, 4 * HOUR),
        ("document", 1, 2 * HOUR, 2 * HOUR, 8 * HOUR, 24 * HOUR),
        ("document", 2, 4 * HOUR, 4 * HOUR, 4 * HOUR, 4 * HOUR),
        ("business-timeouts", 1, HOUR, 8 * HOUR, 8 * HOUR, 48 * HOUR),
    ],
)
def test_the_shipped_policies_wait_as_specified(
    name: str,
    tier: int,
    urgent: timedelta | None,
    high: timedelta | None,
    normal: timedelta | None,
    low: timedelta | None,
) -> None:
    waits = shipped_policy(name).tiers[tier - 1]
    assert waits.timeout_of(Priority.URGENT) == urgent
    assert waits.timeout_of(Priority.HIGH) == high
    assert waits.timeout_of(Priority.NORMAL) == normal
    assert waits.timeout_of(Priority.LOW) == low
    assert waits.timeout_of(Priority.UNSPECIFIED) == normal


def test_pre_screen_and_fallback_take_two_and_five_minutes_at_most() -> None:
    for name in SHIPPED:
        policy = shipped_policy(name)
        assert policy.fallback.time_limit == timedelta(minutes=5)
        assert policy.pre_screen is None or policy.pre_screen.time_limit == timedelta(minutes=2)


def test_a_tier_asks_slots_and_fixed_people_each_once() -> None:
    asks = 'asks = ["required_approver", { person = "cfo@example.com" }, { slot = "second" }]'
    tier = Policy.from_toml(changed('asks = ["required_approver"]', asks)).tiers[0]
    assignments = (
        Assignment(slot="second", people=("carol@example.com", "alice@example.com")),
        Assignment(slot="required_approver", people=("alice@example.com", "bob@example.com")),
    )
    assert tier.people(assignments) == (
        "alice@example.com",
        "bob@example.com",
        "cfo@example.com",
        "carol@example.com",
    )


def test_words_name_the_people_of_a_slot_and_stay_within_their_bound() -> None:
    two = (Assignment(slot="required_approver", people=("alice@example.com", "bob@example.com")),)
    assert (
        fill_slots("{required_approver} is silent", two) == "alice@example.com and bob@example.com is silent"
    )
    evil = (Assignment(slot="required_approver", people=("{required_approver}@example.com",)),)
    assert fill_slots("{required_approver}", evil) == "{required_approver}@example.com"
    long = (Assignment(slot="required_approver", people=("x" * 250 + "@example.com",)),)
    filled = fill_slots("{required_approver} " * 30, long)
    assert len(filled) == 1000
    assert filled.endswith("…")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_policy_is_described_in_sentences(name: str) -> None:
    policy = shipped_policy(name)
    steps = describe_steps(policy)
    assert len(steps) == len(policy.tiers) + (2 if policy.pre_screen else 1)
    assert all(step.endswith(".") for step in (*steps, *describe_caps(policy)))
    assert bool(describe_caps(policy)) is (policy.fallback.by == "ai")
    tiers = list(zip(policy.tiers, steps[-1 - len(policy.tiers) :], strict=False))
    assert all(tier.name in step for tier, step in tiers)
    assert all(("could be told" in step) is (tier.timeout != "without limit") for tier, step in tiers)
