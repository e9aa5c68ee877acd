"""A policy is closed data: what the interpreter does not know is an error."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.events import Priority
from placet_domain.policy import Policy
from placet_testing.workflows import shipped_policy

MINIMAL = """
name = "minimal"
version = 1
description = "One person."
[[tiers]]
name = "approver"
approver = "required"
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
        ('approver = "required"', 'approver = "anybody"'),
        ('decision_type = "human"', 'decision_type = "robot"'),
        ('timeout = "2 h"', "timeout = 7200"),
        ('timeout = "2 h"', 'timeout = "forever"'),
        ('timeout = "2 h"', 'timeout = { urgent = "1 h", high = "1 h", normal = "1 h" }'),
        ('timeout = "2 h"', 'timeout = "2 h"\nquorum = 0'),
        ('timeout = "2 h"', 'timeout = "2 h"\nquorum = 2'),
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
