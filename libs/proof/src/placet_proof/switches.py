"""Switches of automatic decisions: the fold of a tenant's `automation_switched` events."""

from __future__ import annotations

from dataclasses import dataclass, field

from placet_proof.entries import Leaf
from placet_proof.tree import NotProven

Scope = tuple[str, str]
"""Policy and model whose decisions are meant; both empty: all decisions."""


def scope_of(leaf: Leaf) -> Scope:
    """Returns the scope of an `automation_switched` event. Raises NotProven for texts that are not UTF-8."""
    try:
        return leaf.field(2, b"").decode(), leaf.field(3, b"").decode()
    except UnicodeDecodeError as error:
        raise NotProven("a text of an entry is not UTF-8") from error


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
