"""Counts the outcomes in a log by risk score. Pure: the caller reads the log and passes events in order.

A score and its outcome lie far apart in the log. Only the newest open requests are kept in memory, so that a
long log takes no more than a short one; for an older one `needs` is true, and its events are passed again.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from placet_domain.events import (
    Body,
    Decided,
    PreScreened,
    Received,
    Source,
    State,
)
from placet_workflows.evaluation import SCORE_STEPS, EvaluationProgress, LeftOut, VersionTally

# The event types that count; others only advance the index.
COUNTED: Final = frozenset({"received", "pre_screened", "decided"})
# Open requests kept in memory, at about 500 bytes each.
REMEMBERED: Final = 20_000
# Versions counted apart. Each takes at most 14 KB of a heartbeat, whose limit is 2 MB.
MAX_VERSIONS: Final = 50

# Model and prompt digest.
Version: TypeAlias = tuple[str, str]


@dataclass
class _Request:
    policy: str
    version: Version = ("", "")
    score: int | None = None


@dataclass
class _Counts:
    scores: dict[int, tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))

    def add(self, score: int, *, approved: bool) -> None:
        yes, no = self.scores[score]
        self.scores[score] = (yes + 1, no) if approved else (yes, no + 1)


class Tally:
    """The counts of one evaluation, continued from `since`; an empty `policy` counts all."""

    def __init__(self, policy: str, since: EvaluationProgress, *, remembered: int = REMEMBERED) -> None:
        self._policy = policy
        self._remembered = remembered
        self._open: OrderedDict[str, _Request] = OrderedDict()
        self._versions: dict[Version, _Counts] = {}
        self._left_out = since.left_out
        self.log_size = since.log_size
        self.next_index = since.next_index
        for kept in since.versions:
            self._counts_of((kept.model, kept.prompt_digest)).scores.update(kept.scores)

    @property
    def finished(self) -> bool:
        """True if all is counted that the log held when the evaluation began."""
        return 0 < self.log_size <= self.next_index

    def needs(self, approval_id: str) -> bool:
        """True if a request's `received` and `pre_screened` must be passed again before its outcome."""
        return approval_id not in self._open

    def remember(self, approval_id: str, body: Body) -> None:
        """Takes an event that precedes an outcome; it may be passed again."""
        if isinstance(body, Received):
            self._open[approval_id] = _Request(body.policy)
            if len(self._open) > self._remembered:
                self._open.popitem(last=False)
        elif isinstance(body, PreScreened) and body.risk is not None and approval_id in self._open:
            request = self._open[approval_id]
            request.version = (body.model, body.prompt_digest)
            request.score = round(body.risk * SCORE_STEPS)

    def take(self, index: int, approval_id: str, body: Body | None) -> None:
        """Counts the entry at `index`; None for an event whose type is not COUNTED."""
        if isinstance(body, Decided):
            request = self._open.pop(approval_id, None)
            if request is not None and self._policy in ("", request.policy):
                self._count(request, body)
        elif body is not None:
            self.remember(approval_id, body)
        self.next_index = index + 1

    def progress(self) -> EvaluationProgress:
        """A copy of the counts so far."""
        versions = tuple(
            VersionTally(model=model, prompt_digest=prompt_digest, scores=dict(sorted(counts.scores.items())))
            for (model, prompt_digest), counts in self._versions.items()
        )
        return EvaluationProgress(
            log_size=self.log_size,
            next_index=self.next_index,
            versions=versions,
            left_out=self._left_out,
        )

    def _count(self, request: _Request, decided: Decided) -> None:
        if decided.source is not Source.HUMAN or decided.state not in (State.APPROVED, State.REJECTED):
            self._leave_out("automatic" if decided.source is Source.AI_PRESCREEN else "other")
        elif request.score is None:
            self._leave_out("unscored")
        elif request.version not in self._versions and len(self._versions) == MAX_VERSIONS:
            self._leave_out("surplus")
        else:
            counts = self._counts_of(request.version)
            counts.add(request.score, approved=decided.state is State.APPROVED)

    def _counts_of(self, version: Version) -> _Counts:
        return self._versions.setdefault(version, _Counts())

    def _leave_out(self, why: str) -> None:
        counted: int = getattr(self._left_out, why)
        self._left_out = LeftOut.model_validate({**self._left_out.model_dump(), why: counted + 1})
