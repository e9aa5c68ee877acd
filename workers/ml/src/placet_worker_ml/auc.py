"""The area under the ROC curve of each version's scores, with its confidence interval. Pure.

scikit-learn takes two seconds to import, so it is imported where it is used, and only then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from placet_workflows.evaluation import EvaluationInput, EvaluationProgress, EvaluationReport, VersionReport

# With ten of each the 95 % interval of an AUC of 0.75 is 0.49 to 0.90: with fewer, even a score that
# separates well cannot be distinguished from a random one.
MINIMUM: Final = 10
CONFIDENCE_LEVEL: Final = 0.95
# The standard normal quantile of that level, two-sided.
Z: Final = 1.959964

# Halvings of [0, 1] until a bound is as exact as a double.
_HALVINGS: Final = 60


def report(asked: EvaluationInput, counted: EvaluationProgress) -> EvaluationReport:
    """The report of a finished count."""
    versions = [
        _version_report(version.model, version.prompt_digest, version.scores) for version in counted.versions
    ]
    versions.sort(key=lambda version: (-(version.approved + version.rejected), version.model))
    return EvaluationReport(
        tenant=asked.tenant,
        policy=asked.policy,
        log_size=counted.log_size,
        versions=tuple(versions),
        left_out=counted.left_out,
        minimum=MINIMUM,
        confidence_level=CONFIDENCE_LEVEL,
    )


def _version_report(model: str, prompt_digest: str, scores: Mapping[int, tuple[int, int]]) -> VersionReport:
    approved = sum(yes for yes, _ in scores.values())
    rejected = sum(no for _, no in scores.values())
    found = VersionReport(model=model, prompt_digest=prompt_digest, approved=approved, rejected=rejected)
    if min(approved, rejected) < MINIMUM:
        return found
    area = auc(scores)
    low, high = interval(area, approved, rejected)
    return found.model_copy(update={"auc": area, "low": low, "high": high})


def auc(scores: Mapping[int, tuple[int, int]]) -> float:
    """The probability that a rejected request scores higher than an approved one; a tie counts half.

    `scores` maps a score to the numbers of approved and rejected requests; at least one of each.
    """
    from sklearn.metrics import roc_auc_score

    rows = [
        (rejected, score, count)
        for score, both in scores.items()
        for rejected, count in enumerate(both)
        if count
    ]
    labels, values, weights = zip(*rows, strict=True)
    return float(roc_auc_score(labels, values, sample_weight=weights))


def interval(area: float, approved: int, rejected: int) -> tuple[float, float]:
    """The bounds of an AUC's confidence interval, in [0, 1].

    Newcombe's method 5 (Statistics in Medicine 25, 2006, pages 559-573): all true areas within Z standard
    errors of the measured one, by the variance of Hanley and McNeil (Radiology 143, 1982, pages 29-36) at the
    true area. So an area of 1 from few requests has a wide interval.
    """
    low = _lower_bound(area, approved, rejected)
    return low, 1 - _lower_bound(1 - area, approved, rejected)


def _lower_bound(area: float, approved: int, rejected: int) -> float:
    below, above = 0.0, area
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        if area - middle > Z * _standard_error(middle, approved, rejected):
            below = middle
        else:
            above = middle
    return below


def _standard_error(area: float, approved: int, rejected: int) -> float:
    others = (approved + rejected) / 2 - 1
    shape = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
    return math.sqrt(area * (1 - area) * shape / (approved * rejected))
