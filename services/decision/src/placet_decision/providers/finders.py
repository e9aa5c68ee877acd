"""What a pattern alone cannot find: amounts, checksums, invisible characters, edits that change little.

Each finder yields what it saw and how much that weighs: the rule's own `weight`, unless the finder is graded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from placet_decision.providers import reading

Found: TypeAlias = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Text:
    """One content in its two forms: as it was written, and as patterns match it."""

    written: str
    matched: str

    @classmethod
    def of(cls, written: str) -> Text:
        """Both forms of what somebody wrote."""
        return cls(written, reading.matchable(written))


@dataclass(frozen=True)
class Limits:
    """The numbers of the rule set; `rules.toml` says what each means."""

    baseline: float
    approve_below: float
    reject_from: float
    benign_up_to: int
    short_up_to: int
    long_from: int
    foreign_letters_from: int
    currency: str
    # (at least, weight), the largest first
    amounts: tuple[tuple[float, float], ...]
    amount: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        number, scale = r"\d[\d.,'’ ]{0,24}", r"(?:k|m|mn|mio|bn|thousand|tausend|million(?:en)?|billion)?"
        before = rf"{self.currency}\s{{0,2}}({number})\s?({scale})\b"
        behind = rf"\b({number})\s?({scale})\s{{0,2}}{self.currency}(?![a-z])"
        object.__setattr__(self, "amount", re.compile(f"{before}|{behind}"))


Finder: TypeAlias = Callable[[Text, float, Limits], Found]

_IBAN = re.compile(r"\b([a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30})\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_REMOVED = re.compile(r"(?m)^-(?!--)(.*)$")
_ADDED = re.compile(r"(?m)^\+(?!\+\+)(.*)$")
_PROSE = re.compile(r"(?m)^\+\+\+ \S+\.(?:md|txt|rst|adoc)\s*$")
_FACTORS = {"": 1.0, "k": 1e3, "thousand": 1e3, "tausend": 1e3, "bn": 1e9, "billion": 1e9}
_MILLION = 1e6
_SMALL_EDIT_LINES = 6

# What the digest of the rule set covers beside `rules.toml`.
PATTERNS = tuple(pattern.pattern for pattern in (_IBAN, _CARD, _REMOVED, _ADDED, _PROSE))


def masked(evidence: str) -> str:
    """Enough of a secret to find it again, and not enough to use it."""
    return f"{evidence[:6]}… ({len(evidence)} characters, masked)"


def number(written: str) -> float:
    """A number as people write amounts; one or two digits after its last sign are decimals."""
    parts = re.split(r"[.,'’ ]+", written.strip(".,'’ "))
    if len(parts) > 1 and len(parts[-1]) <= 2:
        return float("".join(parts[:-1]) + "." + parts[-1])
    return float("".join(parts))


def _amounts(text: Text, weight: float, limits: Limits) -> Found:
    for match in limits.amount.finditer(text.matched):
        value = number(match[1] or match[3]) * _FACTORS.get(match[2] or match[4] or "", _MILLION)
        for least, heavier in limits.amounts:
            if value >= least:
                yield match[0].strip(), heavier
                break


def _ibans(text: Text, weight: float, limits: Limits) -> Found:
    for match in _IBAN.finditer(text.matched):
        compact = re.sub("[ -]", "", match[1])
        # Other text may follow on the line, so every length that an IBAN can have is tried (ISO 13616).
        if any(_checks_out(compact[:length]) for length in range(15, min(len(compact), 34) + 1)):
            yield masked(compact), weight


def _checks_out(iban: str) -> bool:
    """ISO 7064, mod 97-10."""
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def _cards(text: Text, weight: float, limits: Limits) -> Found:
    for match in _CARD.finditer(text.matched):
        digits = [int(sign) for sign in match[0] if sign.isdigit()]
        # Luhn's check (ISO/IEC 7812).
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
        if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0:
            yield masked(match[0]), weight


def _hidden_characters(text: Text, weight: float, limits: Limits) -> Found:
    for pattern in (reading.HIDDEN_IN_WORD, reading.ZERO_WIDTH_RUN, reading.TAG_CHARACTERS):
        yield from _code_points(pattern, text, weight)


def _bidi_controls(text: Text, weight: float, limits: Limits) -> Found:
    yield from _code_points(reading.BIDI_CONTROLS, text, weight)


def _code_points(pattern: re.Pattern[str], text: Text, weight: float) -> Found:
    match = pattern.search(text.written)
    if match:
        yield _named(match[0]), weight


def _named(characters: str) -> str:
    # By their code points, because evidence must be seen.
    return " ".join(f"U+{ord(character):04X}" for character in characters[:12])


def _mixed_scripts(text: Text, weight: float, limits: Limits) -> Found:
    for word in reading.mixed_script_words(text.written):
        strange = "".join(sorted({character for character in word if not character.isascii()}))
        yield f"{word[:60]} ({_named(strange)})", weight


def _foreign_letters(text: Text, weight: float, limits: Limits) -> Found:
    letters = reading.foreign_letters(text.written)
    if len(letters) >= limits.foreign_letters_from:
        yield letters, weight


def _long(text: Text, weight: float, limits: Limits) -> Found:
    if len(text.written) > limits.long_from:
        yield f"{len(text.written)} characters", weight


def _short(text: Text, weight: float, limits: Limits) -> Found:
    if len(text.written) <= limits.short_up_to:
        yield f"{len(text.written)} characters", weight


def _small_edit(text: Text, weight: float, limits: Limits) -> Found:
    removed, added = _REMOVED.findall(text.matched), _ADDED.findall(text.matched)
    if not removed or len(removed) != len(added) or len(removed) > _SMALL_EDIT_LINES:
        return
    if _PROSE.search(text.matched) and all(map(_nearly_equal, removed, added)):
        yield f"{len(added)} changed line{'s' if len(added) > 1 else ''} of prose, nearly equal", weight


def _nearly_equal(old: str, new: str) -> bool:
    before, after = set(old.split()), set(new.split())
    return len(before ^ after) <= 4 and len(before & after) * 2 >= len(before)


FINDERS: dict[str, Finder] = {
    "amounts": _amounts,
    "ibans": _ibans,
    "cards": _cards,
    "hidden_characters": _hidden_characters,
    "bidi_controls": _bidi_controls,
    "mixed_scripts": _mixed_scripts,
    "foreign_letters": _foreign_letters,
    "long": _long,
    "short": _short,
    "small_edit": _small_edit,
}
