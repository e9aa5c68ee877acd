"""What the rules say of a document, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from placet_decision.domain import EVIDENCE_LIMIT, Document, Feature, presentable
from placet_decision.providers.finders import Text
from placet_decision.providers.rules import Rule, RuleSet, Sighting, Strength

# Where these fired, there is something in the text that rules cannot read.
_UNREADABLE = frozenset({"unfamiliar_script", "opaque_block"})


@dataclass(frozen=True)
class Score:
    """What the rules say of one document.

    `risk` is the baseline plus the weights of `features`. `floor` is what the firm rules give alone (0 when
    none fired) and `firm` names them; `tampering` names what is there to steer or deceive its reader.
    `unread`: part of the text is nothing that rules can judge.
    """

    risk: float
    confidence: float
    features: tuple[Feature, ...]
    floor: float = 0.0
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    unread: bool = False


def score(document: Document, rules: RuleSet) -> Score:
    """Applies every rule to title and text, in time linear in their length.

    Text that is added on lines of its own never undoes what a risk rule saw, so no instruction in the
    content can lower a risk: what sounds like one raises it.
    """
    text = Text.of(f"{document.title}\n{document.text}")
    fired = [
        (rule, sighting) for rule in rules.risk if (sighting := rule.sighting(text, rules.limits)) is not None
    ]
    return _raised(fired, rules) if fired else _lowered(text, rules)


def _raised(fired: list[tuple[Rule, Sighting]], rules: RuleSet) -> Score:
    risk = floor = rules.limits.baseline
    features = []
    for rule, sighting in fired:
        moved = (1.0 - risk) * sighting.weight
        risk += moved
        features.append(_feature(rule, moved, sighting))
        if rule.strength is not Strength.TOPIC:
            floor += (1.0 - floor) * sighting.weight
    firm = tuple(rule.name for rule, _ in fired if rule.strength is not Strength.TOPIC)
    unread = any(rule.name in _UNREADABLE for rule, _ in fired)
    # Several signs that point the same way make rules surer, firm ones more so; never as sure as people.
    confidence = min(0.85, 0.45 + 0.05 * len(fired) + 0.05 * len(firm))
    return Score(
        risk=risk,
        confidence=confidence / 2 if unread else confidence,
        features=tuple(features),
        floor=floor if firm else 0.0,
        firm=firm,
        tampering=tuple(rule.name for rule, _ in fired if rule.strength is Strength.TAMPERING),
        unread=unread,
    )


def _lowered(text: Text, rules: RuleSet) -> Score:
    risk = rules.limits.baseline
    features = []
    for rule in rules.benign if len(text.written) <= rules.limits.benign_up_to else ():
        sighting = rule.sighting(text, rules.limits)
        if sighting is not None:
            moved = -risk * sighting.weight
            risk += moved
            features.append(_feature(rule, moved, sighting))
    # Nothing seen is not the same as nothing there: the fewer signs, the less the rules know.
    return Score(risk, 0.2 + 0.15 * min(len(features), 3), tuple(features))


def _feature(rule: Rule, weight: float, sighting: Sighting) -> Feature:
    return Feature(rule.name, weight, presentable(sighting.evidence.replace("\n", " "), EVIDENCE_LIMIT))


def explained(scored: Score, baseline: float) -> str:
    """The score in words: where it starts, and what moved it by how much."""
    if not scored.features:
        return f"No rule fired, so it stays at {baseline:.2f}: unknown, which is not the same as safe."
    moves = "; ".join(
        f"{feature.name} {feature.weight:+.2f} (“{presentable(feature.evidence, 60)}”)"
        for feature in scored.features
    )
    return f"It starts at {baseline:.2f} (unknown). {moves}."
