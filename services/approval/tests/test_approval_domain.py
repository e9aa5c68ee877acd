"""The rules of intake and of who may see what, without anything around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from placet_approval.intake.validation import RequestRules, check
from placet_approval.visibility import visibility_of
from placet_domain.automatic import Automatic
from placet_domain.events import Assignment
from placet_domain.policy_files import load
from placet_rpc.errors import InvalidArgument
from placet_rpc.identity import Principal

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICIES = load(None)


def asking(
    policy: str = "document",
    required_approver: str = "alice@example.com",
    manager_approver: str = "bob@example.com",
    deadline_time: datetime | None = None,
) -> RequestRules:
    people = {"required_approver": required_approver, "manager_approver": manager_approver}
    assignments = [Assignment(slot=slot, people=(person,)) for slot, person in people.items() if person]
    return RequestRules("ci@example.com", policy, assignments, deadline_time)


def fields_at_fault(wrong: RequestRules) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as raised:
        check(wrong, POLICIES, NOW)
    for violation in raised.value.violations:
        assert violation.field in raised.value.message
    return {violation.field: violation.description for violation in raised.value.violations}


def test_a_request_in_order_gets_the_policy_that_it_names() -> None:
    assert check(asking(), POLICIES, NOW).name == "document"


def test_a_policy_without_a_manager_needs_none_named() -> None:
    assert check(asking(policy="simple", manager_approver=""), POLICIES, NOW).name == "simple"


def test_an_unknown_policy_is_answered_with_those_that_there_are() -> None:
    faults = fields_at_fault(asking(policy="documnet"))

    assert set(faults) == {"policy"}
    assert "'documnet'" in faults["policy"]
    assert "ai-fallback, business-timeouts, document, escalating, simple" in faults["policy"]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_needs_the_approver_whom_it_asks(policy: str) -> None:
    assert "is missing" in fields_at_fault(asking(policy, required_approver=""))["assignments"]


@pytest.mark.parametrize("policy", ["document", "escalating"])
def test_a_policy_with_a_manager_needs_one_named(policy: str) -> None:
    assert (
        "'manager_approver' is missing" in fields_at_fault(asking(policy, manager_approver=""))["assignments"]
    )


@pytest.mark.parametrize(("slot", "index"), [("required_approver", 0), ("manager_approver", 1)])
@pytest.mark.parametrize("spelling", ["ci@example.com", "CI@Example.com"])
def test_nobody_is_asked_to_approve_their_own_request(slot: str, index: int, spelling: str) -> None:
    people = {"required_approver": "alice@example.com", "manager_approver": "bob@example.com"} | {
        slot: spelling
    }
    faults = fields_at_fault(asking("document", people["required_approver"], people["manager_approver"]))
    assert "four eyes" in faults[f"assignments[{index}].people[0]"]


@pytest.mark.parametrize("before", [timedelta(0), timedelta(microseconds=1), timedelta(days=40)])
def test_a_deadline_lies_in_the_future(before: timedelta) -> None:
    assert set(fields_at_fault(asking(deadline_time=NOW - before))) == {"deadline_time"}


def test_a_deadline_to_come_is_in_order() -> None:
    check(asking(deadline_time=NOW + timedelta(microseconds=1)), POLICIES, NOW)


def test_a_deadline_is_given_by_those_whom_the_policy_names() -> None:
    caps = Automatic(deadline_from=("bob@example.com",))
    document = POLICIES["document"].model_copy(update={"automatic": caps})
    with pytest.raises(InvalidArgument) as raised:
        check(asking(deadline_time=NOW + timedelta(days=1)), {"document": document}, NOW)
    assert raised.value.message == (
        "deadline_time: may be given only by bob@example.com, by policy 'document'"
    )


def test_all_faults_are_named_at_once() -> None:
    wrong = asking(required_approver="", manager_approver="ci@example.com", deadline_time=NOW)

    assert set(fields_at_fault(wrong)) == {"assignments", "assignments[0].people[0]", "deadline_time"}


def principal(subject: str, *roles: str) -> Principal:
    return Principal(subject, "home", frozenset(roles), "jwt:test")


def test_requesters_see_their_own_and_approvers_what_they_were_asked() -> None:
    asked = frozenset({"alice@example.com"})

    def sees(subject: str) -> bool:
        return visibility_of(principal(subject, "requester", "approver")).covers("ci@example.com", asked)

    assert sees("ci@example.com")
    assert sees("alice@example.com")
    assert not sees("bob@example.com")
    assert not sees("")


@pytest.mark.parametrize("role", ["auditor", "operator", "program"])
def test_these_roles_see_every_request_of_their_tenant(role: str) -> None:
    sight = visibility_of(principal("anybody", role))

    assert sight.tenant == "home"
    assert sight.covers("ci@example.com", frozenset())
