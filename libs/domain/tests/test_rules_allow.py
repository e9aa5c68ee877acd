"""Allow-rules: the only grounds of an automatic approval, judged over logged facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet_domain.allow_rule import AllowRule, matches
from placet_domain.coverage import WHOLE, ContentCoverage
from placet_domain.events import AiResult, DecisionType, Source, State
from placet_domain.facts import Amount, Facts, FoundFacts
from placet_domain.policy import Policy
from placet_domain.policy_description import describe_steps
from placet_domain.policy_files import BadPolicy, load
from placet_domain.rules.screening import is_decided_by_rules
from placet_domain.stimuli import PreScreenDone
from placet_testing.simulation import MENU, NO_FACTS, REQUESTER, Play, screened
from placet_testing.workflow_environment import shipped_policy

PAYMENT = Facts(
    kind="payment", amount="120", currency="EUR", counterparty="Acme", target="rent", environment="test"
)
DIFF = FoundFacts(paths=("docs/a/guide.md", "README.md"), paths_complete=True)
EUR_500 = Amount(value="500", currency="EUR")


def policy(*rules: dict[str, object], below: float | None = None) -> Policy:
    """The policy `document` with these rules."""
    body = shipped_policy("document").model_dump(mode="json")
    body["pre_screen"]["approve_below"] = below
    # No cap but those that every policy has.
    body["automatic"] = {}
    body["allow"] = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)]
    return Policy.model_validate(body)


def is_allowed(rule: dict[str, object], facts: Facts = NO_FACTS, found: FoundFacts = MENU) -> bool:
    play = Play(policy(rule), facts=facts)
    play.on(PreScreenDone(screened(0.9, found=found)))
    return play.state.state is State.APPROVED


@pytest.mark.parametrize(
    ("rule", "otherwise", "facts", "found"),
    [
        ({"forms": ["menu"]}, {"forms": ["minutes"]}, Facts(), MENU),
        ({"media_types": ["text/plain"]}, {"media_types": ["text/x-diff"]}, Facts(), MENU),
        ({"requesters": [REQUESTER.upper()]}, {"requesters": ["ci@example.com"]}, Facts(), MENU),
        ({"forms": ["menu"], "size_at_most": 12}, {"forms": ["menu"], "size_at_most": 11}, Facts(), MENU),
        (
            {"kinds": ["payment"], "amount_at_most": "120 EUR"},
            {"kinds": ["payment"], "amount_at_most": "119.99 EUR"},
            PAYMENT,
            MENU,
        ),
        ({"amount_at_most": "120 EUR"}, {"amount_at_most": "120 USD"}, PAYMENT, MENU),
        ({"amount_at_most": "1000 EUR"}, {"kinds": ["payment"]}, PAYMENT, MENU),
        (
            {"environments": ["test"], "amount_at_most": "1000 EUR"},
            {"environments": ["live"], "amount_at_most": "1000 EUR"},
            PAYMENT,
            MENU,
        ),
        (
            {"counterparties": ["Acme"], "targets": ["rent"], "amount_at_most": "1000 EUR"},
            {"counterparties": ["Acme"], "targets": ["food"], "amount_at_most": "1000 EUR"},
            PAYMENT,
            MENU,
        ),
        ({"paths": ["docs/**", "*.md"]}, {"paths": ["docs/**"]}, Facts(), DIFF),
        ({"paths": ["**"]}, {"paths": ["**"], "kinds": ["access"]}, Facts(), DIFF),
    ],
)
def test_a_rule_allows_what_satisfies_all_of_its_conditions(
    rule: dict[str, object], otherwise: dict[str, object], facts: Facts, found: FoundFacts
) -> None:
    assert is_allowed(rule, facts, found)
    assert not is_allowed(otherwise, facts, found)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"amount_at_most": "500 EUR"}, FoundFacts(amounts=(Amount(value="501", currency="EUR"),))),
        ({"amount_at_most": "500 EUR"}, FoundFacts(amounts=(Amount(value="1", currency="USD"),))),
        ({"amount_at_most": "500 EUR"}, FoundFacts(firm=("bank_details",))),
        ({"amount_at_most": "500 EUR"}, FoundFacts(tampering=("prompt_injection",))),
        (
            {"amount_at_most": "500 EUR", "findings": ["prompt_injection"]},
            FoundFacts(firm=("prompt_injection",), tampering=("prompt_injection",)),
        ),
    ],
)
def test_what_is_found_raises_what_is_declared(rule: dict[str, object], found: FoundFacts) -> None:
    assert is_allowed(rule, PAYMENT, FoundFacts())
    assert not is_allowed(rule, PAYMENT, found)


def test_a_rule_accepts_the_firm_findings_that_it_names_and_the_amount_that_it_bounds() -> None:
    found = FoundFacts(amounts=(EUR_500,), firm=("amount", "payment_instruction"))
    rule: dict[str, object] = {"amount_at_most": "500 EUR"}
    assert not is_allowed(rule, PAYMENT, found)
    assert is_allowed({**rule, "findings": ["payment_instruction"]}, PAYMENT, found)


@pytest.mark.parametrize("found", [FoundFacts(paths=("docs/a.md",)), FoundFacts(paths_complete=True), MENU])
def test_a_diff_whose_files_are_not_all_known_matches_no_path(found: FoundFacts) -> None:
    assert not is_allowed({"paths": ["**"]}, found=found)


def test_without_a_threshold_the_rule_decides_alone_and_before_any_model() -> None:
    rules = policy({"forms": ["menu"]})
    play = Play(rules)
    assert is_decided_by_rules(rules, play.state, screened(0.9))
    assert not is_decided_by_rules(rules, play.state, screened(0.9, found=FoundFacts()))
    play.on(PreScreenDone(screened(0.9)))
    outcome = play.outcome
    assert (outcome.source, outcome.decision_type) == (Source.POLICY, DecisionType.AUTOMATIC)
    assert (outcome.approver, outcome.rule) == ("document", "rule-1")
    assert outcome.reasoning == "Allowed by the policy"


@pytest.mark.parametrize(
    ("risk", "found", "approved"),
    [(0.29, MENU, True), (0.3, MENU, False), (0.0, FoundFacts(), False), (0.45, FoundFacts(), False)],
)
def test_with_a_threshold_an_approval_needs_a_low_risk_and_a_rule(
    risk: float, found: FoundFacts, approved: bool
) -> None:
    rules = policy({"forms": ["menu"]}, below=0.3)
    assert not is_decided_by_rules(rules, Play(rules).state, screened(0.0))
    play = Play(rules)
    play.on(PreScreenDone(screened(risk, found=found)))
    assert (play.state.state is State.APPROVED) is approved
    if approved:
        assert (play.outcome.source, play.outcome.rule) == (Source.AI_PRESCREEN, "rule-1")


@pytest.mark.parametrize("below", [None, 0.3])
@pytest.mark.parametrize("result", [AiResult.ABSTAINED, AiResult.UNAVAILABLE])
def test_no_rule_allows_anything_without_a_result(result: AiResult, below: float | None) -> None:
    play = Play(policy({"media_types": ["text/plain"]}, below=below))
    play.on(PreScreenDone(screened(result=result)))
    assert play.path[-1] == "asked"


@pytest.mark.parametrize(("coverage", "approved"), [(WHOLE, True), (ContentCoverage(), False)])
def test_no_rule_allows_what_was_not_read_whole(coverage: ContentCoverage, approved: bool) -> None:
    play = Play(policy({"forms": ["menu"]}), coverage=coverage)
    play.on(PreScreenDone(screened(0.0)))
    assert (play.state.state is State.APPROVED) is approved


def test_without_rules_nothing_is_approved_at_once() -> None:
    play = Play(policy(below=0.3))
    play.on(PreScreenDone(screened(0.0)))
    assert play.path[-1] == "asked"
    assert describe_steps(play.policy)[0] == "An AI assesses the risk (deep); the result only informs."


def test_the_effective_amounts_are_logged_with_the_pre_screen() -> None:
    play = Play(policy(below=0.3), facts=PAYMENT)
    found = FoundFacts(amounts=(EUR_500, Amount(value="7.50", currency="USD")))
    play.on(PreScreenDone(screened(0.5, found=found)))
    assert play.state.pre_screened is not None
    assert play.state.pre_screened.effective_amounts == (EUR_500, Amount(value="7.50", currency="USD"))


def test_the_first_rule_that_holds_is_named() -> None:
    play = Play(policy({"forms": ["minutes"]}, {"forms": ["menu"]}, {"media_types": ["text/plain"]}))
    play.on(PreScreenDone(screened(0.5)))
    assert play.outcome.rule == "rule-2"


@pytest.mark.parametrize(
    ("glob", "path", "holds"),
    [
        ("docs/**", "docs/a.md", True),
        ("docs/**", "docs/a/b.md", True),
        ("docs/**", "docs", False),
        ("docs/**", "docs2/a.md", False),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/a/b.md", False),
        ("docs/*.md", "docs/a.mdx", False),
        ("**/*.md", "a.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("*.md", "a/b.md", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("**", "any/thing", True),
        ("docs/**", "docs/../etc/passwd", False),
        ("**", "../x", False),
        ("**", "/etc/passwd", False),
    ],
)
def test_a_glob_matches_paths_within_a_repository(glob: str, path: str, holds: bool) -> None:
    assert matches(glob, path) is holds


OWN = """
name = "ours"
version = 1
description = "Ours."
[pre_screen]
mode = "quick"
[[allow]]
name = "menu"
forms = ["menu"]
[[allow]]
RULE
[[tiers]]
name = "approver"
asks = ["required_approver"]
decision_type = "human"
timeout = "3 h"
[fallback]
by = "reject"
reason = "silence"
rejection = "no"
"""


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            'name = "small"',
            "allow-rule 2 (small): it has no condition, so it would allow everything; write",
        ),
        ('name = "small"\nsize_at_most = 9', "allow-rule 2 (small): it has no condition"),
        ('forms = ["menu"]', "allow-rule 2, name: is missing"),
        (
            'name = "menu"\nforms = ["menu"]',
            "allow-rule 2 (menu), name: another rule has it; write another",
        ),
        (
            'name = "small"\namount_at_most = "much"',
            "allow-rule 2 (small), amount_at_most: 'much' is no amount; write a number and a currency, like",
        ),
        ('name = "small"\namount_at_most = "9"', "allow-rule 2 (small), amount_at_most: '9' is no amount"),
        ('name = "small"\nkind = "payment"', "allow-rule 2 (small), kind: is no key of a policy"),
        ('name = "small"\nkinds = ["Payment!"]', "allow-rule 2 (small), kinds: 'Payment!' has characters"),
        ('name = "small"\npaths = ["/etc/*"]', "allow-rule 2 (small), paths: '/etc/*' is no path within a"),
        ('name = "small"\nmedia_types = ["text/html"]', "allow-rule 2 (small), media_types: Input should be"),
    ],
)
def test_a_bad_rule_is_named_with_what_to_write(tmp_path: Path, rule: str, message: str) -> None:
    (tmp_path / "ours.toml").write_text(OWN.replace("RULE", rule))
    with pytest.raises(BadPolicy) as raised:
        load(tmp_path)
    assert f"ours.toml: {message}" in str(raised.value)


def test_rules_need_a_pre_screen(tmp_path: Path) -> None:
    text = OWN.replace("[[allow]]\nRULE\n", "").replace('[pre_screen]\nmode = "quick"\n', "")
    (tmp_path / "ours.toml").write_text(text)
    with pytest.raises(BadPolicy, match=r"allow-rule 1 \(menu\): nothing looks .* write \[pre_screen\]"):
        load(tmp_path)


def test_a_rule_keeps_its_form_in_a_policys_body() -> None:
    rule = AllowRule(name="small", amount_at_most="120.50 eur")  # type: ignore[arg-type]  # as in a file
    assert rule.model_dump(mode="json")["amount_at_most"] == "120.50 EUR"
    assert AllowRule.model_validate(rule.model_dump(mode="json")) == rule
