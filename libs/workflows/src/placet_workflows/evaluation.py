"""`EvaluationWorkflow`: how well risk scores separate what people approved from what they rejected.

One activity on queue placet-ml reads the tenant's log and counts. What it has counted goes with its
heartbeats, so that after a crash it reads on where it was; `placet_temporal.evaluations` reads the same
for whoever waits.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from placet_domain.events import Dto, Hex
    from placet_workflows.names import EVALUATION_WORKFLOW, Activity

# For one attempt; a later attempt reads on from the last heartbeat.
TIME_LIMIT = timedelta(hours=4)
# A worker that was killed is missed after this long.
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# Whatever fails (a service that is away, a worker that died) is tried again until it works.
PATIENTLY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
)

# Scores are counted to this many parts of 1: two that differ by less count as equal.
SCORE_STEPS = 1000


class EvaluationInput(Dto):
    """What to look at."""

    # Whose log.
    tenant: str
    # Only requests of this policy; empty: of all.
    policy: str = ""


class LeftOut(Dto):
    """Outcomes that say nothing of how people and scores agree, by why."""

    # Approved by the pre-screen: no person saw them, so the figures are about the riskier rest only.
    automatic: int = 0
    # Decided by the fallback or the policy, withdrawn, or answered with neither yes nor no.
    other: int = 0
    # Decided by a person, but without a usable score before.
    unscored: int = 0
    # Decided by a person, scored by one version too many to keep apart.
    surplus: int = 0


class VersionTally(Dto):
    """What was counted for one version of a model or rule set."""

    # Its name, as the pre-screen logged it.
    model: str
    # SHA-256 of its prompt or rule set: another one is another version.
    prompt_digest: Hex = ""
    # By risk in thousandths (0 to 1000): how many people approved, and how many they rejected.
    scores: dict[int, tuple[int, int]]


class EvaluationProgress(Dto):
    """How far an evaluation is. Goes with each heartbeat, and is all that the next attempt needs."""

    # Where the log ended when the evaluation began: it reads no further. 0 before the first page.
    log_size: int = 0
    # The first index that is not counted yet.
    next_index: int = 0
    versions: tuple[VersionTally, ...] = ()
    left_out: LeftOut = LeftOut()


class VersionReport(Dto):
    """How well the scores of one version separate."""

    model: str
    prompt_digest: Hex = ""
    # How many of the requests that it scored were approved and rejected, by people.
    approved: int
    rejected: int
    # The chance that a rejected request was scored riskier than an approved one, a tie counted half (the
    # area under the ROC curve): 1 separates perfectly, 0.5 not at all, less is upside down. None when
    # there are too few of either.
    auc: float | None = None
    # The bounds of its confidence interval; None with it.
    low: float | None = None
    high: float | None = None


class EvaluationReport(Dto):
    """What was found."""

    tenant: str
    policy: str = ""
    # How many entries of the log were read.
    log_size: int = 0
    # Those with the most decisions first. Empty: people decided nothing that had a score.
    versions: tuple[VersionReport, ...] = ()
    left_out: LeftOut = LeftOut()
    # At least so many approved and so many rejected are needed to say anything.
    minimum: int = 0
    # Of the intervals, e.g. 0.95.
    confidence_level: float = 0.0


def evaluation_id(tenant: str, policy: str) -> str:
    """The workflow's id. One at a time for a tenant and policy: who asks again joins the one that runs."""
    return f"evaluation/{tenant}/{policy}"


@workflow.defn(name=EVALUATION_WORKFLOW)
class EvaluationWorkflow:
    """One evaluation."""

    @workflow.run
    async def run(self, asked: EvaluationInput) -> EvaluationReport:
        """Ends with the report, however often the worker dies on the way."""
        report: EvaluationReport = await workflow.execute_activity(
            Activity.EVALUATE_MODEL,
            asked,
            result_type=EvaluationReport,
            start_to_close_timeout=TIME_LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=PATIENTLY,
        )
        return report
