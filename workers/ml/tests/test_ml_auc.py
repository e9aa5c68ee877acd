"""The area under the ROC curve, and when nothing is said about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_worker_ml.auc import MINIMUM, auc, interval, report
from placet_workflows.evaluation import (
    EvaluationInput,
    EvaluationProgress,
    LeftOut,
    VersionReport,
    VersionTally,
)

Scores = dict[int, tuple[int, int]]
ASKED = EvaluationInput(tenant="acme", policy="document")


def only_version(scores: Scores) -> VersionReport:
    progress = EvaluationProgress(log_size=9, versions=(VersionTally(model="rules/1", scores=scores),))
    (version,) = report(ASKED, progress).versions
    return version


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scores", "area"),
    [
        ({100: (20, 0), 900: (0, 20)}, 1.0),
        ({100: (0, 20), 900: (20, 0)}, 0.0),
        ({500: (20, 20)}, 0.5),  # all tied
        ({100: (10, 10), 900: (10, 10)}, 0.5),
        ({100: (10, 0), 500: (10, 10), 900: (0, 10)}, 0.875),  # 1 - 1/2 · 1/2 · 1/2
    ],
)
def test_the_area_is_the_chance_that_a_rejected_request_scored_higher(scores: Scores, area: float) -> None:
    version = only_version(scores)

    assert version.auc == pytest.approx(area)
    assert (version.approved, version.rejected) == (20, 20)


@pytest.mark.slow
@given(
    st.dictionaries(
        st.integers(0, 1000), st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8
    ).filter(lambda scores: all(sum(side) for side in zip(*scores.values(), strict=True)))
)
def test_the_area_is_that_of_comparing_every_pair(scores: Scores) -> None:
    pairs = [
        (no * yes, 1.0 if rejected > approved else 0.5 if rejected == approved else 0.0)
        for rejected, (_, no) in scores.items()
        for approved, (yes, _) in scores.items()
    ]

    assert auc(scores) == pytest.approx(sum(n * win for n, win in pairs) / sum(n for n, _ in pairs))


@pytest.mark.parametrize(
    "scores",
    [
        {100: (MINIMUM, 0), 900: (0, MINIMUM - 1)},
        {100: (MINIMUM - 1, 0), 900: (0, MINIMUM)},
        {100: (500, 0), 900: (400, 0)},  # people rejected nothing
        {100: (0, 500)},  # people approved nothing
    ],
)
def test_too_few_of_either_say_nothing_but_how_many_there_are(scores: Scores) -> None:
    version = only_version(scores)

    assert (version.auc, version.low, version.high) == (None, None, None)
    assert version.approved + version.rejected == sum(yes + no for yes, no in scores.values())


def test_the_fewest_that_are_enough_are_enough() -> None:
    assert only_version({100: (MINIMUM, 0), 900: (0, MINIMUM)}).auc == 1.0


@pytest.mark.parametrize("area", [0.0, 0.3, 0.5, 0.75, 0.99, 1.0])
@pytest.mark.parametrize(("approved", "rejected"), [(10, 10), (10, 400), (1000, 50)])
def test_an_interval_holds_its_area_and_is_never_a_point(area: float, approved: int, rejected: int) -> None:
    low, high = interval(area, approved, rejected)

    assert 0 <= low <= area <= high <= 1
    assert high - low > 0.01


@pytest.mark.parametrize("area", [0.6, 0.75, 1.0])
def test_more_decisions_give_a_narrower_interval(area: float) -> None:
    few, many = interval(area, 10, 10), interval(area, 100, 100)

    assert few[0] < many[0]
    assert many[1] <= few[1]


def test_an_interval_s_bounds_are_as_far_as_the_variance_at_the_bound_says() -> None:
    # 30 rejected, 50 approved, area 0.8: both sides of Newcombe's equation at the bounds.
    for bound in interval(0.8, 50, 30):
        others = (50 + 30) / 2 - 1
        variance = (
            bound * (1 - bound) * (1 + others * ((1 - bound) / (2 - bound) + bound / (1 + bound))) / (50 * 30)
        )
        assert abs(0.8 - bound) == pytest.approx(1.959964 * variance**0.5, abs=1e-9)


def test_a_report_says_what_it_is_about_and_puts_the_most_used_version_first() -> None:
    counted = EvaluationProgress(
        log_size=99,
        next_index=99,
        versions=(
            VersionTally(model="rules/1", scores={100: (3, 1)}),
            VersionTally(model="rules/2", scores={100: (30, 1), 900: (2, 20)}),
        ),
        left_out=LeftOut(automatic=7),
    )

    found = report(ASKED, counted)

    assert [version.model for version in found.versions] == ["rules/2", "rules/1"]
    assert (found.tenant, found.policy, found.log_size) == ("acme", "document", 99)
    assert (found.left_out.automatic, found.minimum, found.confidence_level) == (7, MINIMUM, 0.95)


def test_an_empty_log_gives_an_empty_report() -> None:
    assert report(ASKED, EvaluationProgress()).versions == ()
