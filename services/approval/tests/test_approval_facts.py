"""Declared facts are checked by the JSON Schema of their kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placet.approval.v1.approval_pb2 import Facts
from placet.approval.v1.approval_service_pb2 import GetContentRequest
from placet.event.v1 import event_pb2
from placet_approval.intake.facts import BadFactKind, FactKinds, logged_facts
from placet_approval.projection.present import present_facts
from placet_rpc.errors import AlreadyExists, InvalidArgument

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

KINDS = FactKinds.load(None)
PAYMENT = Facts(kind="payment", amount="120", currency="EUR", counterparty="Acme", others={"invoice": "R-7"})
ORDER = {
    "type": "object",
    "required": ["amount", "currency", "cost_centre"],
    "additionalProperties": False,
    "properties": {
        "kind": True,
        "amount": {"pattern": "^[0-9]{1,4}$", "description": "whole euros, at most 9999"},
        "currency": {"const": "EUR"},
        "cost_centre": {"enum": ["4711", "4712"]},
    },
}


def faults(kinds: FactKinds, facts: Facts) -> dict[str, str]:
    return {one.field: one.description for one in kinds.violations(facts)}


@pytest.mark.parametrize(
    "facts",
    [
        Facts(),
        PAYMENT,
        Facts(kind="deployment", target="shop", environment="production", others={"version": "2.4"}),
        Facts(kind="access", counterparty="bob@example.com", target="database"),
        Facts(kind="document"),
    ],
)
def test_facts_that_their_kind_allows_are_accepted(facts: Facts) -> None:
    assert faults(KINDS, facts) == {}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            Facts(kind="payment"),
            {
                "facts.amount": "is missing; kind 'payment' needs it",
                "facts.currency": "is missing; kind 'payment' needs it",
                "facts.counterparty": "is missing; kind 'payment' needs the recipient",
            },
        ),
        (
            Facts(kind="deployment", target="shop", environment="live", amount="1", currency="EUR"),
            {
                "facts.amount": "is no fact of kind 'deployment'",
                "facts.currency": "is no fact of kind 'deployment'",
            },
        ),
        (
            Facts(kind="paymnet", amount="1", currency="EUR"),
            {"facts.kind": "there is no kind 'paymnet'; there are: access, deployment, document, payment"},
        ),
        (
            Facts(amount="1"),
            {
                "facts.kind": "is missing; there are: access, deployment, document, payment",
                "facts.currency": "is missing; facts.amount needs it",
            },
        ),
        (
            Facts(kind="document", others={"amount": "1"}),
            {"facts.others['amount']": "facts.amount has a field of its own"},
        ),
    ],
)
def test_each_violation_names_its_field(facts: Facts, expected: dict[str, str]) -> None:
    assert faults(KINDS, facts) == expected


def test_an_operators_kinds_are_added(tmp_path: Path) -> None:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "order.json").write_text(json.dumps(ORDER))
    kinds = FactKinds.load(tmp_path)
    order = Facts(kind="order", amount="12", currency="EUR", others={"cost_centre": "4711"})
    assert faults(kinds, order) == {}
    assert faults(kinds, PAYMENT) == {}
    wrong = Facts(kind="order", amount="1.5", currency="USD", others={"cost_centre": "1", "colour": "red"})
    assert faults(kinds, wrong) == {
        "facts.others['colour']": "is no fact of kind 'order'",
        "facts.amount": "'1.5' does not satisfy pattern of kind 'order' (whole euros, at most 9999)",
        "facts.currency": "'USD' is not EUR",
        "facts.others['cost_centre']": "'1' is none of: 4711, 4712",
    }


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("order.json", "{", "is no JSON"),
        ("order.json", '{"type": "objekt"}', "is no JSON Schema: 'objekt'"),
        ("Order!.json", "{}", "a kind is named by small letters"),
    ],
)
def test_a_bad_schema_is_named_with_what_is_wrong(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / name).write_text(text)
    with pytest.raises(BadFactKind, match=f"{name}: {why}"):
        FactKinds.load(tmp_path)


def test_facts_are_shown_as_they_were_declared_and_without_what_was_erased() -> None:
    logged = logged_facts(PAYMENT)
    assert present_facts(logged) == PAYMENT
    logged.counterparty.CopyFrom(event_pb2.Erasable(commitment=b"c" * 32))
    assert present_facts(logged).counterparty == ""


@pytest.mark.integration
async def test_facts_are_logged_shown_and_part_of_what_was_asked(platform: Platform) -> None:
    caller = await platform.as_("ci@example.com")
    facts = Facts(
        kind="payment", amount="120.50", currency="EUR", counterparty="Acme", others={"invoice": "R-7"}
    )
    message = platform.asking(facts=facts)
    accepted = await caller.RequestApproval(message)

    received = (await platform.audit.events("home", accepted.approval_id))[0].entry.event.received
    shown = await platform.get(accepted.approval_id)
    content = await caller.GetContent(
        GetContentRequest(approval_id=accepted.approval_id, content_digest=accepted.content_digest)
    )

    assert received.facts.counterparty.value == "Acme"
    assert shown.facts == content.facts == facts
    assert [str(one.value) for one in shown.effective_amounts] == ["120.50"]
    message.facts.amount = "120.51"
    with pytest.raises(AlreadyExists):
        await caller.RequestApproval(message)


@pytest.mark.integration
async def test_every_fact_that_is_wrong_is_named(platform: Platform) -> None:
    caller = await platform.as_("ci@example.com")
    wrong = Facts(kind="payment", amount="1", environment="prod", others={"kind": "x"})
    with pytest.raises(InvalidArgument) as raised:
        await caller.RequestApproval(platform.asking(facts=wrong))
    fields = {one.field for one in raised.value.violations}
    assert fields == {"facts.currency", "facts.counterparty", "facts.others['kind']"}
