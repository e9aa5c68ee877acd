"""The baseline: three activities and a signal, nothing else."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

TASK_QUEUE = "bench-baseline"
LIMIT = timedelta(minutes=1)


@workflow.defn(name="Baseline")
class Baseline:
    """Reads, asks, waits for one signal, and writes the outcome."""

    def __init__(self) -> None:
        self._verdict = ""

    @workflow.run
    async def run(self, content: str) -> str:
        """The outcome."""
        text = await workflow.execute_activity("read", content, start_to_close_timeout=LIMIT)
        await workflow.execute_activity("ask", workflow.info().workflow_id, start_to_close_timeout=LIMIT)
        await workflow.wait_condition(lambda: self._verdict != "")
        outcome: str = await workflow.execute_activity(
            "finish", f"{self._verdict} {text}", result_type=str, start_to_close_timeout=LIMIT
        )
        return outcome

    @workflow.signal
    def decide(self, verdict: str) -> None:
        """A person's answer."""
        self._verdict = verdict
