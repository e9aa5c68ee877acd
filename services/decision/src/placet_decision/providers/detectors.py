"""Detectors: what a pattern alone cannot find, such as amounts, checksums and hidden characters.

Each yields the evidence and its weight: the rule's own `weight`, unless the detector is graded. Patterns
match a normalized form of the text, in which words that were hidden from rules but not from people are whole.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TypeAlias

import placet_text
from placet_text import Deception, deceptive, look_alikes, mixtures, named, number, without_hidden

Evidence: TypeAlias = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Text:
    """A content as it was written, and in the form that patterns match."""

    written: str
    matched: str

    @classmethod
    def of(cls, written: str) -> Text:
        """Normalizes a written text."""
        return cls(written, normalized(written))


@dataclass(frozen=True)
class Limits:
    """The numbers of the rule set; `rules.toml` says what each means."""

    baseline: float
    approve_below: float
    reject_from: float
    long_from: int
    foreign_letters_from: int
    # The patterns of each currency, by its code.
    currencies: Mapping[str, tuple[str, ...]]
    # (at least, weight), the largest first
    amounts: tuple[tuple[float, float], ...]
    # An amount behind its currency; a currency, and the amount that ends before it.
    amount_behind: re.Pattern[str] = field(init=False)
    currency_alone: re.Pattern[str] = field(init=False)
    amount_before: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        number, scale = r"\d[\d.,'’ ]{0,24}", r"(?:k|m|mn|mio|bn|thousand|tausend|million(?:en)?|billion)?"
        behind = rf"({self.currency})\s{{0,2}}({number})\s?({scale})\b"
        object.__setattr__(self, "amount_behind", re.compile(behind))
        object.__setattr__(
            self, "currency_alone", re.compile(rf"(?<=[\d.,'’\skmnod]){self.currency}(?![a-z])")
        )
        # Not from the number on: a text of digits and commas holds many, and each may have to be tried often.
        object.__setattr__(self, "amount_before", re.compile(rf"\b({number})\s?({scale})\s{{0,2}}\Z"))

    @property
    def currency(self) -> str:
        """A pattern for any currency."""
        return f"(?:{'|'.join(pattern for patterns in self.currencies.values() for pattern in patterns)})"

    def code_of(self, written: str) -> str:
        """The code of a currency as it is written in a matched text."""
        return next(
            code
            for code, patterns in self.currencies.items()
            if any(re.fullmatch(pattern, written) for pattern in patterns)
        )


Detector: TypeAlias = Callable[[Text, float, Limits], Evidence]

_IBAN = re.compile(r"\b([a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30})\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_THOUSAND, _MILLION, _BILLION = Decimal(10**3), Decimal(10**6), Decimal(10**9)
_FACTORS = {
    "": Decimal(1),
    "k": _THOUSAND,
    "thousand": _THOUSAND,
    "tausend": _THOUSAND,
    "bn": _BILLION,
    "billion": _BILLION,
}
# The largest amount that the contract can carry.
_MOST = Decimal(10**18 - 1)
# Characters of a number, its scale and the spaces between.
_LONGEST_AMOUNT = 40

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_LOOKALIKES = str.maketrans(
    "авекмнорстухіјѕԁԛԝьАВЕКМНОРСТУХІЈЅԌԚԜαβεηικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "abekmhopctyxijsdqwbABEKMHOPCTYXIJSGQWabenikvoptuxABEZHIKMNOPTYX",
)
_COMBINING = re.compile("[\u0300-\u036f]")
_FOREIGN_LETTER = re.compile(r"[\u0370-\u1dbf\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\uff66-\uffdc]")
_MOST_LETTERS = 40

PATTERNS = (
    *(pattern.pattern for pattern in (_IBAN, _CARD, _ESCAPE, _FOREIGN_LETTER)),
    *placet_text.PATTERNS,
)
"""The part of the rule set's digest beside `rules.toml`."""


def normalized(text: str) -> str:
    """The form that the rules match: decoded, normalized (NFKC), nothing hidden, in lower case.

    Each step works on its own neighbourhood, so that text added elsewhere cannot undo it.
    """
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(_decoded, text)
    composed = unicodedata.normalize("NFKC", without_hidden(text).translate(_LOOKALIKES))
    # A mark that is still combining strikes a letter through; no language that the rules know needs it.
    return _COMBINING.sub("", composed).casefold()


def _decoded(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    # Half of a surrogate pair is no character, and could not be stored.
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)


def is_legible(text: str) -> bool:
    """True if the text holds a letter or a digit that is shown."""
    return any(character.isalnum() for character in without_hidden(text))


def masked(evidence: str) -> str:
    """The beginning of a secret: enough to find it, too little to use it."""
    return f"{evidence[:6]}… ({len(evidence)} characters, masked)"


def amount(written: str) -> Decimal:
    """A number as people write amounts; one or two digits after the last separator are decimals."""
    parts = re.split(r"[.,'’ ]+", written.strip(".,'’ "))
    if len(parts) > 1 and len(parts[-1]) <= 2:
        return Decimal("".join(parts[:-1]) + "." + parts[-1])
    return Decimal("".join(parts))


def largest_amounts(text: Text, limits: Limits) -> dict[str, Decimal]:
    """The largest amount of each currency in a text, by the currency's code."""
    largest: dict[str, Decimal] = {}
    for _, currency, value in _found_amounts(text, limits):
        largest[currency] = max(value, largest.get(currency, Decimal(0)))
    return largest


def _found_amounts(text: Text, limits: Limits) -> Iterator[tuple[str, str, Decimal]]:
    """Each amount: as it is matched, its currency's code, and its value."""
    for written, currency, digits, scale in _written_amounts(text.matched, limits):
        value = amount(digits) * _FACTORS.get(scale, _MILLION)
        yield written, limits.code_of(currency), min(value, _MOST)


def _written_amounts(text: str, limits: Limits) -> Iterator[tuple[str, str, str, str]]:
    """The whole of each amount with a currency, its currency, its number and its scale."""
    for match in limits.amount_behind.finditer(text):
        yield match[0].strip(), match[1], match[2], match[3]
    for currency in limits.currency_alone.finditer(text):
        place = currency.start()
        before = limits.amount_before.search(text, max(0, place - _LONGEST_AMOUNT), place)
        if before is not None:
            yield f"{before[0]}{currency[0]}".strip(), currency[0], before[1], before[2]


def _amounts(text: Text, weight: float, limits: Limits) -> Evidence:
    for written, _, value in _found_amounts(text, limits):
        for least, heavier in limits.amounts:
            if value >= least:
                yield written, heavier
                break


def _ibans(text: Text, weight: float, limits: Limits) -> Evidence:
    for match in _IBAN.finditer(text.matched):
        compact = re.sub("[ -]", "", match[1])
        if _begins_with_an_iban(compact):
            yield masked(compact), weight


def _begins_with_an_iban(compact: str) -> bool:
    """ISO 7064, mod 97-10, for every length that an IBAN can have (ISO 13616): other text may follow."""
    head = "".join(str(int(sign, 36)) for sign in compact[:4])
    remainder = 0
    for length, sign in enumerate(compact[4:34], 5):
        remainder = int(f"{remainder}{int(sign, 36)}") % 97
        if length >= 15 and int(f"{remainder}{head}") % 97 == 1:
            return True
    return False


def _cards(text: Text, weight: float, limits: Limits) -> Evidence:
    for match in _CARD.finditer(text.matched):
        digits = [int(sign) for sign in match[0] if sign.isdigit()]
        # Luhn's check (ISO/IEC 7812).
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
        if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0:
            yield masked(match[0]), weight


def _hidden_characters(text: Text, weight: float, limits: Limits) -> Evidence:
    for kind, found in deceptive(text.written).items():
        if kind is not Deception.BIDIRECTIONAL:
            yield _listed(found.counts), weight


def _bidi_controls(text: Text, weight: float, limits: Limits) -> Evidence:
    found = deceptive(text.written).get(Deception.BIDIRECTIONAL)
    if found is not None:
        yield _listed(found.counts), weight


def _listed(characters: Iterable[str]) -> str:
    # By number, because evidence must be seen.
    return " ".join(number(character) for character in islice(characters, 12))


def _mixed_scripts(text: Text, weight: float, limits: Limits) -> Evidence:
    for mixture in mixtures(text.written):
        yield f"{named(mixture.stranger)} among {mixture.among}", weight
    alike = look_alikes(text.written)
    if alike is not None:
        yield _listed(alike.counts), weight


def _foreign_letters(text: Text, weight: float, limits: Limits) -> Evidence:
    letters = [match[0] for match in islice(_FOREIGN_LETTER.finditer(text.written), _MOST_LETTERS)]
    if len(letters) >= limits.foreign_letters_from:
        yield "".join(letters), weight


def _long(text: Text, weight: float, limits: Limits) -> Evidence:
    if len(text.written) > limits.long_from:
        yield f"{len(text.written)} characters", weight


DETECTORS: dict[str, Detector] = {
    "amounts": _amounts,
    "ibans": _ibans,
    "cards": _cards,
    "hidden_characters": _hidden_characters,
    "bidi_controls": _bidi_controls,
    "mixed_scripts": _mixed_scripts,
    "foreign_letters": _foreign_letters,
    "long": _long,
}
