"""The rules of the log, against a model that is too simple to be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_audit.domain import (
    MAX_APPEND_BYTES,
    MAX_PAGE_BYTES,
    TENANT_LEVEL,
    Append,
    Draft,
    Entry,
    Heads,
    Placed,
    check_append,
    cut_page,
    place_all,
)
from placet_proof import Leaf
from placet_proof.grammar import BEGIN, Path, follow
from placet_rpc.errors import FailedPrecondition, InvalidArgument

TENANTS = st.sampled_from(["red", "blue"])
REQUESTS = st.sampled_from(["r1", "r2"])


def drafts(expected_next: int, count: int, cause: str = "c") -> tuple[Draft, ...]:
    return tuple(
        Draft(
            expected_next + i if expected_next else 0,
            f"{cause}{i}",
            leaf(expected_next and expected_next + i),
        )
        for i in range(count)
    )


def leaf(number: int) -> bytes:
    """A request's first event, or a later refusal; or, without a number, an event of a tenant."""
    entry = event_pb2.Entry(approval_id="r" if number else "", number=number)
    kind = "received" if number == 1 else "refused" if number else "access_refused"
    getattr(entry.event, kind).SetInParent()
    if kind == "refused":
        entry.event.actor.kind = event_pb2.ACTOR_KIND_SERVICE
        entry.event.refused.reason = error_reason_pb2.ERROR_REASON_UNDECODABLE
    return entry.SerializeToString()


REQUEST_APPENDS = st.builds(
    lambda tenant, request, expected, count: Append(tenant, request, expected, drafts(expected, count)),
    TENANTS,
    REQUESTS,
    st.integers(1, 6),
    st.integers(1, 3),
)
TENANT_APPENDS = st.builds(
    lambda tenant, cause, count: Append(tenant, TENANT_LEVEL, 0, drafts(0, count, cause)),
    TENANTS,
    st.sampled_from(["x", "y"]),
    st.integers(1, 3),
)


@given(batches=st.lists(st.lists(REQUEST_APPENDS | TENANT_APPENDS, max_size=6), max_size=6))
def test_compare_and_append_equals_its_model(batches: list[list[Append]]) -> None:
    model: dict[str, list[tuple[str, int, str]]] = {"red": [], "blue": []}
    for batch in batches:
        results = place_all(heads_of(model), batch)
        for append, outcome in zip(batch, results, strict=True):
            expect(model[append.tenant], append, outcome)
    for log in model.values():
        for request in ("r1", "r2"):
            numbers = [number for approval_id, number, _ in log if approval_id == request]
            assert numbers == list(range(1, len(numbers) + 1))
        causes = [cause for approval_id, _, cause in log if approval_id == TENANT_LEVEL]
        assert len(causes) == len(set(causes))


def heads_of(model: dict[str, list[tuple[str, int, str]]]) -> Heads:
    return Heads(
        attesting=(),
        sizes={tenant: len(log) for tenant, log in model.items()},
        next_numbers={
            (tenant, request): 1 + max(number for r, number, _ in log if r == request)
            for tenant, log in model.items()
            for request in {r for r, _, _ in log if r != TENANT_LEVEL}
        },
        paths={
            (tenant, request): path_to(sum(one == request for one, _, _ in log))
            for tenant, log in model.items()
            for request in ("r1", "r2")
        },
        causes={(tenant, cause) for tenant, log in model.items() for r, _, cause in log if r == TENANT_LEVEL},
    )


def path_to(number: int) -> Path:
    """The path of a request with so many events."""
    path = BEGIN
    for one in range(1, number + 1):
        path = follow(path, Leaf.parse(leaf(one)), {}, ())
    return path


def expect(log: list[tuple[str, int, str]], append: Append, outcome: Placed | FailedPrecondition) -> None:
    """Result of one append by the contract; advances the model."""
    if append.approval_id == TENANT_LEVEL:
        known = {cause for approval_id, _, cause in log if approval_id == TENANT_LEVEL}
        new = [draft for draft in append.drafts if draft.cause_id not in known]
    else:
        next_number = 1 + sum(approval_id == append.approval_id for approval_id, _, _ in log)
        if append.expected_next > next_number:
            assert isinstance(outcome, FailedPrecondition)
            assert outcome.reason == "GAP"
            assert outcome.metadata == {"expected_next": str(append.expected_next), "next": str(next_number)}
            return
        new = list(append.drafts) if append.expected_next == next_number else []
    assert isinstance(outcome, Placed)
    assert [entry.draft for entry in outcome.new] == new
    assert [entry.index for entry in outcome.new] == list(range(len(log), len(log) + len(new)))
    assert outcome.complete == (len(new) == len(append.drafts))
    log.extend((append.approval_id, draft.number, draft.cause_id) for draft in new)


def test_an_append_too_large_for_one_answer_is_refused_before_it_is_stored() -> None:
    half = Draft(1, "c", b"x" * (MAX_APPEND_BYTES // 2))

    check_append(Append("red", "r1", 1, (half,)))
    with pytest.raises(InvalidArgument):
        check_append(Append("red", "r1", 1, (half, half)))


def test_a_cause_that_a_database_cannot_hold_is_refused_by_the_name_of_its_field() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_append(Append("red", "r1", 1, (Draft(1, "c", b""), Draft(2, "\0", b""))))

    assert [violation.field for violation in refusal.value.violations] == ["events[1].cause_id"]


def test_a_page_of_large_entries_ends_early_and_says_that_more_follow() -> None:
    large = [Entry("red", i, "r1", Draft(i + 1, "c", b"x" * (MAX_PAGE_BYTES // 3))) for i in range(4)]

    page = cut_page(large, 1000)

    assert [entry.index for entry in page.entries] == [0, 1]
    assert page.more
