"""The pages describe the policies as they are, and every link has a target."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from deployment import ROOT
from placet_domain.allow_rule import AllowRule
from placet_domain.automatic import Automatic
from placet_domain.durations import format_duration
from placet_domain.events import Priority
from placet_domain.policy import WITHOUT_LIMIT, Fallback, Policy, PreScreen, Tier
from placet_domain.policy_files import load

POLICIES = (ROOT / "docs" / "policies.md").read_text()
PRIORITIES = (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)
PARTS: dict[str, type[BaseModel]] = {
    "automatic": Automatic,
    "pre_screen": PreScreen,
    "allow": AllowRule,
    "tiers": Tier,
    "fallback": Fallback,
}
NOTES = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PAGES = sorted(
    subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
)


def rows_under(head: str) -> list[list[str]]:
    """The cells of the table whose head begins so, without backticks."""
    table = POLICIES[POLICIES.index(head) :].partition("\n\n")[0]
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in table.splitlines()[2:]
    ]


def times_of(tier: Tier) -> list[str]:
    """Timeouts of a tier by priority, as policies write them."""
    times = [tier.timeout_of(priority) for priority in PRIORITIES]
    return [WITHOUT_LIMIT if time is None else format_duration(time) for time in times]


def test_the_table_of_built_in_policies_says_who_is_asked_and_for_how_long() -> None:
    said: dict[str, list[list[str]]] = {}
    name = ""
    for row in rows_under("| policy | who is asked |"):
        name = row[0] or name
        said.setdefault(name, []).append(row[1:6])
    assert said == {
        name: [[tier.name, *times_of(tier)] for tier in policy.tiers] for name, policy in load(None).items()
    }


def test_the_page_quotes_the_policies_wordings_and_threshold() -> None:
    page = " ".join(POLICIES.split())
    for policy in load(None).values():
        assert f'"{policy.fallback.rejection}"' in page
    screen = load(None)["document"].pre_screen
    assert screen is not None
    assert f"below {screen.approve_below}" in page
    assert f'"{screen.reason}"' in page


def test_the_page_explains_every_field_with_its_default() -> None:
    said = {}
    for names, _meaning, default in rows_under("| field |"):
        first, *others = names.split(", ")
        part = first.partition(".")[0]
        for name in (first, *(part + other for other in others)):
            said[name] = default
    known = {name for name in Policy.model_fields if name not in PARTS} | {"allow", "tiers"}
    known |= {f"{part}.{field}" for part, model in PARTS.items() for field in model.model_fields}
    assert set(said) == known
    assert said["pre_screen.time_limit"] == format_duration(PreScreen.model_fields["time_limit"].default)
    assert said["fallback.time_limit"] == format_duration(Fallback.model_fields["time_limit"].default)
    assert said["automatic.least_confidence"] == str(Automatic.model_fields["least_confidence"].default)
    assert said["tiers.message"] == Tier.model_fields["message"].default
    assert said["fallback.approver"] == Fallback.model_fields["approver"].default


def test_the_example_of_an_own_policy_is_one() -> None:
    rule, example = re.findall(r"```toml\n(.*?)```", POLICIES, re.DOTALL)
    assert [AllowRule.model_validate(one).name for one in tomllib.loads(rule)["allow"]] == ["small-refund"]
    assert Policy.from_toml(example).slots == ("required_approver", "manager_approver")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text)
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = [int(note.name[:3]) for note in NOTES]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.name[:3])
def test_each_decision_says_what_was_decided_and_why(note: Path) -> None:
    text = note.read_text()
    assert text.startswith(f"# {note.name[:3]} ")
    assert text.index("**Decided.**") < text.index("**Why.**")
