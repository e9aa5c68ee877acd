"""`EvaluationWorkflow`: measures how well risk scores separate people's approvals from their rejections.

One activity on queue placet-ml reads the tenant's log and counts. Its heartbeats carry the counts, so that it
continues there after a crash. `placet_temporal.evaluations` reads them to show progress.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from placet_domain.dto import Dto, Hex
    from placet_workflows.names import EVALUATION_WORKFLOW, Activity

# Timeout of one attempt; the next one continues from the last heartbeat.
TIME_LIMIT = timedelta(hours=4)
# Time after which a killed worker is noticed.
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# Failures (of a service or worker) are retried until they succeed.
UNLIMITED_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
)

# Scores are counted to this many parts of 1: two that differ by less count as equal.
SCORE_STEPS = 1000


class EvaluationInput(Dto):
    """Selection of decisions to evaluate."""

    # Tenant whose log is read.
    tenant: str
    # Only requests of this policy; empty: of all.
    policy: str = ""


class LeftOut(Dto):
    """Numbers of outcomes that are left out, by reason."""

    # Approved by the pre-screen: no person saw them, so the figures are about the riskier rest only.
    automatic: int = 0
    # Decided by the fallback or the policy, cancelled, or answered with neither approval nor rejection.
    other: int = 0
    # Decided by a person, but without a usable score before.
    unscored: int = 0
    # Decided by a person, scored by one version too many to keep apart.
    surplus: int = 0


class VersionTally(Dto):
    """Counts for one version of a model or rule set."""

    # Its name, as the pre-screen logged it.
    model: str
    # SHA-256 of its prompt or rule set: another one is another version.
    prompt_digest: Hex = ""
    # By risk in thousandths (0 to 1000): how many people approved, and how many they rejected.
    scores: dict[int, tuple[int, int]]


class EvaluationProgress(Dto):
    """Progress of an evaluation: sent with each heartbeat, and all that the next attempt needs."""

    # Size of the log when the evaluation began, up to which it reads. 0 before the first page.
    log_size: int = 0
    # The first index that is not counted yet.
    next_index: int = 0
    versions: tuple[VersionTally, ...] = ()
    left_out: LeftOut = LeftOut()


class VersionReport(Dto):
    """Separation of approvals and rejections by the scores of one version."""

    model: str
    prompt_digest: Hex = ""
    # Numbers of scored requests that people approved and rejected.
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
    """Result of an evaluation."""

    tenant: str
    policy: str = ""
    # Number of entries read.
    log_size: int = 0
    # Those with the most decisions first. Empty: people decided nothing that had a score.
    versions: tuple[VersionReport, ...] = ()
    left_out: LeftOut = LeftOut()
    # Smallest number of approved and of rejected requests for an AUC.
    minimum: int = 0
    # Of the intervals, e.g. 0.95.
    confidence_level: float = 0.0


def evaluation_id(tenant: str, policy: str) -> str:
    """The workflow's id: one per tenant and policy, so that concurrent callers share one run."""
    return f"evaluation/{tenant}/{policy}"


@workflow.defn(name=EVALUATION_WORKFLOW)
class EvaluationWorkflow:
    """Runs one evaluation."""

    @workflow.run
    async def run(self, asked: EvaluationInput) -> EvaluationReport:
        """Returns the report, however often the worker fails meanwhile."""
        report: EvaluationReport = await workflow.execute_activity(
            Activity.EVALUATE_MODEL,
            asked,
            result_type=EvaluationReport,
            start_to_close_timeout=TIME_LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=UNLIMITED_RETRIES,
        )
        return report
