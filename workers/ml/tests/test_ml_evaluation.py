"""The job, reading a served log: what it reports, and from where it reads on."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
import uuid
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_domain.events import State
from placet_worker_ml.activities import MlActivities
from placet_workflows.evaluation import EvaluationInput, EvaluationProgress, EvaluationReport

pytestmark = pytest.mark.integration

# The served log of conftest, and the log itself, which tests cannot import by name.
Served = Any
Log = Any

ASKED = EvaluationInput(tenant="acme")


def write_interleaved(log: Log, requests: int = 60) -> None:
    """Requests that overlap, as they do: each is decided while others come in. Risk 0.8 is rejected twice
    as often as risk 0.2."""
    chance = random.Random(7)
    waiting: list[tuple[str, float]] = []
    for number in range(requests):
        risk = 0.8 if number % 2 else 0.2
        waiting.append((str(uuid.UUID(int=number)), risk))
        log.ask(waiting[-1][0], risk)
        if len(waiting) > 8:
            decide_one(log, chance, waiting)
    while waiting:
        decide_one(log, chance, waiting)


def decide_one(log: Log, chance: random.Random, waiting: list[tuple[str, float]]) -> None:
    approval_id, risk = waiting.pop(chance.randrange(len(waiting)))
    rejected = chance.random() < (0.6 if risk > 0.5 else 0.3)
    log.decide(approval_id, State.REJECTED if rejected else State.APPROVED)


class Attempts:
    """Runs attempts of the activity as Temporal does: each gets what the last heartbeat said."""

    def __init__(self, stub: AuditServiceStub, **options: int) -> None:
        self._activities = MlActivities(stub, **options)
        self.heartbeats: list[EvaluationProgress] = []

    async def run(self, asked: EvaluationInput = ASKED) -> EvaluationReport:
        environment = ActivityEnvironment()
        details = [self.heartbeats[-1].model_dump(mode="json")] if self.heartbeats else []
        environment.info = dataclasses.replace(environment.info, heartbeat_details=details)
        environment.on_heartbeat = self.heartbeats.append
        return await environment.run(self._activities.evaluate_model, asked)


async def test_an_evaluation_reports_how_well_scores_separate(served: Served) -> None:
    write_interleaved(served.log)

    found = await Attempts(served.stub).run()

    (version,) = found.versions
    assert version.approved + version.rejected == 60
    assert version.auc is not None
    assert 0.5 < version.auc < 1
    assert (version.model, version.prompt_digest) == ("rules/1", "ab" * 32)
    assert found.log_size == len(served.log.entries)


async def test_an_evaluation_reads_the_log_of_its_tenant_only(served: Served) -> None:
    write_interleaved(served.log, 5)

    await Attempts(served.stub).run()

    assert served.log.tenants == {"acme"}


async def test_an_empty_log_is_reported_as_such(served: Served) -> None:
    found = await Attempts(served.stub).run()

    assert (found.log_size, found.versions) == (0, ())


async def test_forgetting_open_requests_changes_no_figure(served: Served) -> None:
    write_interleaved(served.log)
    plain = await Attempts(served.stub).run()
    calls = len(served.log.calls)

    forgetful = await Attempts(served.stub, remembered=1, page_size=7).run()

    assert forgetful == plain
    assert any(call.filter.approval_id for call in served.log.calls[calls:])


async def test_an_attempt_that_fails_anywhere_is_gone_on_with_and_changes_no_figure(served: Served) -> None:
    write_interleaved(served.log, 40)
    plain = await Attempts(served.stub).run()
    pages = -(-len(served.log.entries) // 20)

    for failing in range(pages):
        served.log.calls.clear()
        served.log.refuse_call = failing
        attempts = Attempts(served.stub, page_size=20)
        with pytest.raises(ApplicationError, match="the log is away"):
            await attempts.run()
        assert attempts.heartbeats[-1].next_index == failing * 20

        served.log.calls.clear()
        served.log.refuse_call = None
        assert await attempts.run() == plain
        assert (
            next(call.filter.from_log_index for call in served.log.calls if not call.filter.approval_id)
            == failing * 20
        )


async def test_an_attempt_that_failed_before_its_report_reads_nothing_again(served: Served) -> None:
    write_interleaved(served.log)
    attempts = Attempts(served.stub)
    plain = await attempts.run()
    served.log.calls.clear()

    assert await attempts.run() == plain
    assert served.log.calls == []


async def test_an_evaluation_ends_where_the_log_ended_when_it_began(served: Served) -> None:
    write_interleaved(served.log, 20)
    size = len(served.log.entries)

    def grow() -> None:
        request = str(uuid.uuid4())
        served.log.ask(request, 0.5)
        served.log.decide(request, State.APPROVED)

    served.log.on_call = grow

    found = await Attempts(served.stub, page_size=10).run()

    # The first page comes with what had grown by then; it is the end.
    assert found.log_size == size + 4
    assert sum(version.approved + version.rejected for version in found.versions) == 21


async def test_a_log_that_lost_entries_is_not_reported_on(served: Served) -> None:
    write_interleaved(served.log, 20)
    attempts = Attempts(served.stub, page_size=10)
    served.log.refuse_call = 5
    with pytest.raises(ApplicationError):
        await attempts.run()
    del served.log.entries[50:]

    with pytest.raises(ApplicationError, match="the log ends at 50, but it held 80 entries"):
        await attempts.run()


async def test_a_long_history_of_one_request_is_read_to_its_decision(served: Served) -> None:
    request = str(uuid.uuid4())
    served.log.most = 2
    served.log.ask(request, 0.9)
    write_interleaved(served.log, 30)
    served.log.decide(request, State.REJECTED)

    found = await Attempts(served.stub, remembered=1).run()

    assert sum(version.approved + version.rejected for version in found.versions) == 31


def test_a_worker_that_evaluates_nothing_never_imports_scikit_learn() -> None:
    looking = "import sys, placet_worker_ml.__main__; sys.exit('sklearn' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", looking], check=False).returncode == 0
