"""Stimuli: inputs of the interpreter (timers, results, commands)."""

from __future__ import annotations

from dataclasses import dataclass

from placet_domain.commands import BaseCommand
from placet_domain.events import AiDecided, PreScreened


@dataclass(frozen=True)
class Begin:
    """The workflow started, and no pre-screen comes before the first tier."""


@dataclass(frozen=True)
class PreScreenDone:
    """The pre-screen gave a result, or could not."""

    result: PreScreened


@dataclass(frozen=True)
class TierTimeout:
    """A tier's time ran out."""

    tier: int


@dataclass(frozen=True)
class DeadlinePassed:
    """The request's own deadline passed."""


@dataclass(frozen=True)
class FallbackUnavailable:
    """The AI could not be reached within the fallback's time."""


@dataclass(frozen=True)
class FallbackDone:
    """The AI gave its fallback result."""

    result: AiDecided


@dataclass(frozen=True)
class Undecodable:
    """A command that cannot be decoded; `cause_id` and `digest` are derived from its bytes."""

    cause_id: str
    digest: str


Stimulus = (
    Begin
    | PreScreenDone
    | TierTimeout
    | DeadlinePassed
    | FallbackUnavailable
    | FallbackDone
    | Undecodable
    | BaseCommand
)


@dataclass(frozen=True)
class PendingNotices:
    """Results of notices are due for an append of their own; handled by the workflow, not the interpreter."""
