"""Automatic decisions, and the fold of the `automation_switched` events that switch them off and on."""

from __future__ import annotations

from dataclasses import dataclass, field

from placet_proof.entries import Leaf
from placet_proof.grammar import Path
from placet_proof.vocabulary import DECIDED, Source, State

Scope = tuple[str, str]
"""Policy and model whose decisions are meant; both empty: all decisions."""


@dataclass(frozen=True, slots=True)
class AutomaticDecision:
    """Outcome that no person decided, and more than the policy's rejection. `model`: empty without one.

    `most_an_hour`, `most_a_day`: limits of the policy's approvals; 0 without.
    """

    policy: str
    model: str
    approves: bool
    most_an_hour: int = 0
    most_a_day: int = 0


def automatic_decision(path: Path, leaf: Leaf) -> AutomaticDecision | None:
    """Returns the automatic decision that the next event of a path is; None for every other event.

    A rejection by the policy is none: it is what is left where nothing else may decide.
    """
    if leaf.body != DECIDED:
        return None
    source, approves = leaf.field(2, 0), leaf.field(1, 0) == State.APPROVED
    if source not in (Source.AI_PRESCREEN, Source.AI_FALLBACK) and not (source == Source.POLICY and approves):
        return None
    return AutomaticDecision(path.policy, leaf.text(7), approves, *path.limits)


def scope_of(leaf: Leaf) -> Scope:
    """Returns the scope of an `automation_switched` event."""
    return leaf.text(2), leaf.text(3)


@dataclass(slots=True)
class Switches:
    """The scopes that are off, each with the index of the entry that switched it off.

    `ever_off`: indexes of all entries that switched a scope off.
    """

    by_scope: dict[Scope, int] = field(default_factory=dict)
    ever_off: set[int] = field(default_factory=set)

    def apply(self, index: int, leaf: Leaf) -> None:
        """Applies the next event."""
        scope = scope_of(leaf)
        if leaf.field(1, 0):
            self.by_scope.setdefault(scope, index)
            self.ever_off.add(index)
        else:
            self.by_scope.pop(scope, None)

    def off(self, policy: str, model: str) -> int | None:
        """Returns the index of the entry by which a decision is switched off; None if it is not.

        A decision by rules alone has no model.
        """
        scopes: list[Scope] = [("", ""), (policy, "")]
        if model:
            scopes.append(("", model))
        found = [self.by_scope[scope] for scope in scopes if scope in self.by_scope]
        return min(found, default=None)
