"""Facts of the action that a request asks for: declared, found in its content, and effective.

The messages of `placet.event.v1` say what each field means. Rules and caps of a policy judge effective facts:
what was declared, raised by what was found and never lowered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from placet_domain.dto import Dto, ErasableText

# The firm finding that `amount_at_most` judges.
AMOUNT_FINDING = "amount"
# Names that a further fact cannot take.
OWN_NAMES = frozenset({"kind", "amount", "currency", "counterparty", "target", "environment"})

_CURRENCY = re.compile(r"[A-Z]{3}")
# As the contract writes an amount.
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?")


class Amount(Dto):
    value: str = ""
    currency: str = ""


class NamedFact(Dto):
    name: str = ""
    value: ErasableText = ""


class Facts(Dto):
    kind: str = ""
    amount: str = ""
    currency: str = ""
    counterparty: ErasableText = ""
    target: ErasableText = ""
    environment: str = ""
    others: tuple[NamedFact, ...] = ()


class FoundFacts(Dto):
    amounts: tuple[Amount, ...] = ()
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    form: str = ""
    paths: tuple[ErasableText, ...] = ()
    paths_complete: bool = False


@dataclass(frozen=True)
class EffectiveFacts:
    """Facts that rules and caps of a policy judge.

    `amounts`: the largest of each currency, declared or found. `paths`: None unless the content is a diff
    whose every file is known. `firm` and `tampering`: names of the rules that matched, in order, each once.
    """

    kind: str = ""
    environment: str = ""
    counterparty: str = ""
    target: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    form: str = ""
    paths: tuple[str, ...] | None = None

    @classmethod
    def of(cls, declared: Facts, *found: FoundFacts) -> EffectiveFacts:
        """Raises the declared facts by all that was found. Form and paths: the first ones that are known."""
        paths = next((one.paths for one in found if one.paths_complete), None)
        return cls(
            kind=declared.kind,
            environment=declared.environment,
            counterparty=declared.counterparty,
            target=declared.target,
            others={one.name: one.value for one in declared.others},
            amounts=_largest(declared, found),
            firm=tuple(dict.fromkeys(name for one in found for name in one.firm)),
            tampering=tuple(dict.fromkeys(name for one in found for name in one.tampering)),
            form=next((one.form for one in found if one.form), ""),
            paths=paths,
        )

    @property
    def logged_amounts(self) -> tuple[Amount, ...]:
        """The amounts as events carry them, by currency."""
        return tuple(
            Amount(value=format(self.amounts[currency], "f"), currency=currency)
            for currency in sorted(self.amounts)
            if self.amounts[currency].is_finite()
        )

    def is_at_most(self, limit: Amount) -> bool:
        """True if there is an amount, and each is in the limit's currency and at most the limit."""
        most = number_of(limit.value)
        return bool(self.amounts) and all(
            currency == limit.currency and amount <= most for currency, amount in self.amounts.items()
        )


def parse_amount(written: str) -> Amount:
    """The amount in a text like "120.50 EUR". Raises ValueError that says how to write one."""
    value, _, currency = written.strip().partition(" ")
    currency = currency.strip().upper()
    if not _NUMBER.fullmatch(value) or not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{written!r} is no amount; write a number and a currency, like '120.50 EUR'")
    return Amount(value=value, currency=currency)


def number_of(written: str) -> Decimal:
    """The number of an amount. One that is not written as the contract says counts as infinite."""
    return Decimal(written) if _NUMBER.fullmatch(written) else Decimal("Infinity")


def _largest(declared: Facts, found: Iterable[FoundFacts]) -> dict[str, Decimal]:
    amounts = [amount for one in found for amount in one.amounts]
    if declared.amount or declared.currency:
        amounts.append(Amount(value=declared.amount, currency=declared.currency))
    largest: dict[str, Decimal] = {}
    for amount in amounts:
        largest[amount.currency] = max(number_of(amount.value), largest.get(amount.currency, Decimal(0)))
    return largest
