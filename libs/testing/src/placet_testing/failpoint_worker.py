"""The default worker with failpoints: `python -m placet_testing.failpoint_worker`.

A failpoint is a file in the folder PLACET_FAILPOINTS; it fires once, for the first append of its request
that holds an event of its kind, after the append is durable and before Temporal hears of it:

    kill-after-append   SIGKILL this worker
    slow-after-append   answer half a second later

Its text is `<approval id> <event body>`, e.g. `1c9… voted`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from temporalio import activity

from placet_worker_default import __main__ as worker
from placet_worker_default.activities import DefaultActivities
from placet_workflows.activity_types import AppendInput, AppendResult

KILL = "kill-after-append"
SLOW = "slow-after-append"
SLOWNESS = 0.5


class FailingActivities(DefaultActivities):
    """The worker's own activities, with failpoints around the append."""

    @activity.defn(name="append_events")
    async def append_events(self, step: AppendInput) -> AppendResult:
        """The real append, then the failpoint."""
        result = await super().append_events(step)
        if fires(KILL, step):
            os.kill(os.getpid(), signal.SIGKILL)
        if fires(SLOW, step):
            await asyncio.sleep(SLOWNESS)
        return result


def fires(failpoint: str, step: AppendInput) -> bool:
    """True if this append fires the failpoint, which is then removed."""
    path = Path(os.environ["PLACET_FAILPOINTS"]) / failpoint
    try:
        approval_id, body = path.read_text().split()
    except FileNotFoundError:
        return False
    if step.approval_id != approval_id or body not in {event.body.type for event in step.events}:
        return False
    path.unlink()
    return True


if __name__ == "__main__":
    # The one change to the real worker.
    vars(worker)["DefaultActivities"] = FailingActivities
    sys.exit(worker.main())
