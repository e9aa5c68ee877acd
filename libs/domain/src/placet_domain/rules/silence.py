"""Silence in words: only somebody who was told in time is said not to have responded."""

from __future__ import annotations

from collections.abc import Iterable

from placet_domain.policy import clip, fill_slots, names_slots
from placet_domain.rules.builders import received_of
from placet_domain.state import ApprovalState

# Characters of each list of names, so that what is said of them stays within a reason's 1,000.
_NAMES = 400


def silent_people(state: ApprovalState) -> tuple[list[str], list[str]]:
    """Those without a vote: who could not be told in a tier's time, and who was told and did not respond."""
    told = {one.person for tier in state.tiers for one in tier.assignments if one.number not in tier.untold}
    waiting = [person for person, waits in state.awaited.items() if waits]
    return [one for one in waiting if one not in told], [one for one in waiting if one in told]


def account(untold: Iterable[str], silent: Iterable[str], within: str = "") -> str:
    """ "alice@… could not be told; bob@… did not respond", those who could not be told first."""
    words = ((untold, "could not be told"), (silent, "did not respond"))
    said = ((clip(", ".join(people), _NAMES), what) for people, what in words)
    return "; ".join(f"{names} {what}{within}" for names, what in said if names)


def explain(words: str, state: ApprovalState) -> str:
    """A policy's words about those who were asked before, filled in.

    Words that name people would call them silent. Where somebody could not be told, an account takes their
    place; other words follow it.
    """
    untold, silent = silent_people(state)
    if not untold:
        return fill_slots(words, received_of(state).assignments)
    happened = account(untold, silent)
    return happened if names_slots(words) else clip(f"{happened}. {words}")


def rejection(words: str, state: ApprovalState) -> str:
    """A policy's rejection, with an account where somebody could not be told."""
    untold, silent = silent_people(state)
    return f"{words} ({account(untold, silent)})" if untold else words
