"""The events of a log that count, and those that do not."""

from __future__ import annotations

import pytest

from placet_domain.events import AiResult, Body, Decided, PreScreened, Received, Source, State
from placet_worker_ml.tally import MAX_VERSIONS, Tally
from placet_workflows.evaluation import EvaluationProgress, LeftOut


def scored(risk: float, model: str = "rules/1", prompt_digest: str = "aa") -> PreScreened:
    return PreScreened(result=AiResult.DECIDED, risk=risk, model=model, prompt_digest=prompt_digest)


def decided(state: State, source: Source = Source.HUMAN) -> Decided:
    return Decided(state=state, source=source)


APPROVED, REJECTED = decided(State.APPROVED), decided(State.REJECTED)


def counted(*paths: list[Body], policy: str = "") -> EvaluationProgress:
    """Each path is a request of its own."""
    tally = Tally(policy, EvaluationProgress())
    for number, path in enumerate(paths):
        for body in path:
            tally.take(tally.next_index, f"request-{number}", body)
    return tally.progress()


def test_people_s_decisions_are_counted_by_version_and_score() -> None:
    progress = counted(
        [Received(), scored(0.4), APPROVED],
        [Received(), scored(0.4), REJECTED],
        [Received(), scored(0.9), REJECTED],
        [Received(), scored(0.9, prompt_digest="bb"), REJECTED],
    )

    assert [(v.model, v.prompt_digest, v.scores) for v in progress.versions] == [
        ("rules/1", "aa", {400: (1, 1), 900: (0, 1)}),
        ("rules/1", "bb", {900: (0, 1)}),
    ]
    assert progress.left_out == LeftOut()


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ([scored(0.1), decided(State.APPROVED, Source.AI_PRESCREEN)], LeftOut(automatic=1)),
        ([scored(0.9), decided(State.REJECTED, Source.AI_FALLBACK)], LeftOut(other=1)),
        ([scored(0.9), decided(State.REJECTED, Source.POLICY)], LeftOut(other=1)),
        ([scored(0.9), decided(State.CANCELLED, Source.REQUESTER)], LeftOut(other=1)),
        ([scored(0.9), decided(State.ANSWERED)], LeftOut(other=1)),
        ([APPROVED], LeftOut(unscored=1)),
        ([PreScreened(result=AiResult.ABSTAINED), REJECTED], LeftOut(unscored=1)),
        ([PreScreened(result=AiResult.UNAVAILABLE), APPROVED], LeftOut(unscored=1)),
    ],
)
def test_only_what_people_decided_of_what_was_scored_counts(path: list[Body], left_out: LeftOut) -> None:
    progress = counted([Received(), *path])

    assert progress.versions == ()
    assert progress.left_out == left_out


def test_other_policies_requests_are_no_part_of_it() -> None:
    progress = counted(
        [Received(policy="document"), scored(0.4), APPROVED],
        [Received(policy="simple"), scored(0.4), REJECTED],
        [Received(policy="simple"), REJECTED],
        policy="document",
    )

    assert [v.scores for v in progress.versions] == [{400: (1, 0)}]
    assert progress.left_out == LeftOut()


def test_counting_goes_on_from_what_an_earlier_attempt_counted() -> None:
    first = counted([Received(), scored(0.4), APPROVED], [Received(), decided(State.CANCELLED)])
    tally = Tally("", first)

    for body in (Received(), scored(0.4), APPROVED):
        tally.take(tally.next_index, "another", body)

    assert [v.scores for v in tally.progress().versions] == [{400: (2, 0)}]
    assert tally.progress().left_out == LeftOut(other=1)
    assert tally.next_index == first.next_index + 3


def test_progress_is_what_was_counted_when_it_was_asked_for() -> None:
    tally = Tally("", EvaluationProgress())
    for body in (Received(), scored(0.4), APPROVED):
        tally.take(tally.next_index, "one", body)
    then = tally.progress()

    for body in (Received(), scored(0.4), APPROVED):
        tally.take(tally.next_index, "two", body)

    assert (then.next_index, then.versions[0].scores) == (3, {400: (1, 0)})


def test_only_the_newest_open_requests_are_remembered() -> None:
    tally = Tally("", EvaluationProgress(), remembered=2)

    for number in range(5):
        tally.take(number, f"request-{number}", Received())

    assert [tally.needs(f"request-{number}") for number in range(5)] == [True, True, True, False, False]


def test_a_decided_request_takes_no_memory() -> None:
    tally = Tally("", EvaluationProgress())

    for body in (Received(), scored(0.4), APPROVED):
        tally.take(tally.next_index, "one", body)

    assert tally.needs("one")


def test_versions_beyond_the_most_that_are_kept_apart_are_told() -> None:
    paths: list[list[Body]] = [
        [Received(), scored(0.4, model=f"model/{number}"), APPROVED] for number in range(MAX_VERSIONS + 3)
    ]

    progress = counted(*paths)

    assert len(progress.versions) == MAX_VERSIONS
    assert progress.left_out == LeftOut(surplus=3)


@pytest.mark.slow
def test_the_fullest_progress_fits_a_heartbeat() -> None:
    paths: list[list[Body]] = [
        [Received(), scored(risk / 1000, model="m" * 200 + str(version)), APPROVED]
        for version in range(MAX_VERSIONS)
        for risk in range(1001)
    ]

    assert len(counted(*paths).model_dump_json()) < 1_500_000
