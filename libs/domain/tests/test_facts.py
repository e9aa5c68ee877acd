"""Effective facts: what is found raises what is declared, and never lowers it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_domain.facts import Amount, EffectiveFacts, Facts, FoundFacts, NamedFact, number_of

PAYMENT = Facts(
    kind="payment", amount="120", currency="EUR", others=(NamedFact(name="invoice", value="R-7"),)
)
AMOUNTS = st.builds(
    Amount,
    value=st.decimals(0, 10**17, places=2).map(lambda number: format(number, "f")),
    currency=st.sampled_from(["EUR", "USD", "CHF"]),
)
FOUND = st.builds(FoundFacts, amounts=st.lists(AMOUNTS, max_size=4).map(tuple))


def found(*amounts: tuple[str, str]) -> FoundFacts:
    return FoundFacts(amounts=tuple(Amount(value=value, currency=currency) for value, currency in amounts))


@pytest.mark.parametrize(
    ("texts", "effective"),
    [
        ([], {"EUR": "120"}),
        ([found(("80", "EUR"))], {"EUR": "120"}),
        ([found(("500.5", "EUR"))], {"EUR": "500.5"}),
        ([found(("9", "USD"))], {"EUR": "120", "USD": "9"}),
        ([found(("500", "EUR")), found(("700", "EUR"))], {"EUR": "700"}),
    ],
)
def test_the_effective_amount_is_the_larger_of_declared_and_found(
    texts: list[FoundFacts], effective: dict[str, str]
) -> None:
    amounts = EffectiveFacts.of(PAYMENT, *texts).amounts
    assert amounts == {currency: Decimal(value) for currency, value in effective.items()}


@given(st.lists(FOUND, max_size=3), FOUND)
def test_more_findings_lower_no_amount(texts: list[FoundFacts], more: FoundFacts) -> None:
    before, after = (EffectiveFacts.of(PAYMENT, *one).amounts for one in (texts, [*texts, more]))
    assert all(after[currency] >= amount for currency, amount in before.items())


@pytest.mark.parametrize(
    ("facts", "holds"),
    [
        (EffectiveFacts.of(PAYMENT), True),
        (EffectiveFacts.of(PAYMENT, found(("120.01", "EUR"))), False),
        (EffectiveFacts.of(PAYMENT, found(("1", "USD"))), False),
        (EffectiveFacts.of(Facts()), False),
        (EffectiveFacts.of(Facts(amount="1e1", currency="EUR")), False),
        (EffectiveFacts.of(Facts(amount="10")), False),
    ],
)
def test_a_limit_holds_for_known_amounts_in_its_currency_alone(facts: EffectiveFacts, holds: bool) -> None:
    assert facts.is_at_most(Amount(value="120", currency="EUR")) is holds


@pytest.mark.parametrize("written", ["", "-1", "1e9", "NaN", "Infinity", "1,000", " 1", "1.", "01", "٣"])
def test_an_amount_that_is_no_number_is_larger_than_any_limit(written: str) -> None:
    assert number_of(written) == Decimal("Infinity")


def test_findings_of_several_results_are_joined() -> None:
    first = FoundFacts(firm=("amount",), paths=("a.md",), paths_complete=True)
    then = FoundFacts(firm=("amount", "bank_details"), tampering=("prompt_injection",), form="menu")
    facts = EffectiveFacts.of(PAYMENT, first, then)
    assert (facts.firm, facts.tampering) == (("amount", "bank_details"), ("prompt_injection",))
    assert (facts.form, facts.paths, facts.others) == ("menu", ("a.md",), {"invoice": "R-7"})
    assert EffectiveFacts.of(PAYMENT, FoundFacts(paths=("a.md",))).paths is None
