"""Records the histories that every later version of the workflow must replay.

    python tests/replay/record.py [-k NAME]      plays every path test again and keeps what Temporal recorded

Run it when a path is added, or when a released shape of the workflow has changed behind `workflow.patched`:
then the histories of the old shape stay, under their old names. What would differ from one machine to the
next (stack traces, identities) is left out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.client import WorkflowHistory

if TYPE_CHECKING:
    # Only then: pytest wants to import its plugins' packages itself.
    from placet_testing.workflow_environment import ApprovalEnvironment

HERE = Path(__file__).resolve().parent
HISTORIES = HERE / "histories"
PATHS = HERE.parents[1] / "libs/workflows/tests"
# The tests whose histories are worth keeping: all that a request can live through.
THEMES = (
    "paths_simple",
    "paths_ai_fallback",
    "paths_escalating",
    "paths_document",
    "commands",
    "appends",
    "notices",
    "renewal",
    "restart",
)
LEFT_OUT = ("stackTrace", "identity", "binaryChecksum", "sdkMetadata", "workerVersion")


class Recorder:
    """The pytest plugin that the environment hands its requests to."""

    async def keep(self, test: str, environment: ApprovalEnvironment) -> None:
        """Writes the history of each of the environment's requests: of its first run and, where it went on as
        new, of its last."""
        name = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-")
        histories: dict[str, WorkflowHistory] = {}
        for request in environment.requests:
            first = request.handle.first_execution_run_id
            for handle in (environment.client.get_workflow_handle(request.id, run_id=first), request.handle):
                history = await handle.fetch_history()
                histories.setdefault(history.run_id, history)
        for number, history in enumerate(histories.values(), 1):
            suffix = "" if len(histories) == 1 else f"-{number}"
            text = json.dumps(cleaned(history), separators=(",", ":"), sort_keys=True)
            (HISTORIES / f"{name}{suffix}.json").write_text(text + "\n")


def cleaned(history: WorkflowHistory) -> Any:  # Any: JSON
    """A history without what no replay needs and no repository should hold."""
    body = without(json.loads(history.to_json()))
    return {"workflow_id": history.workflow_id, "history": body}


def without(value: Any) -> Any:  # Any: JSON
    """A JSON value without the fields that are left out, at any depth."""
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in LEFT_OUT}
    return [without(inner) for inner in value] if isinstance(value, list) else value


class Registration:
    """Makes the recorder known under the name by which the environment looks for it."""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Called by pytest at its start."""
        config.pluginmanager.register(Recorder(), "histories")


def main() -> int:
    """Plays the path tests with the recorder listening; answers pytest's exit status."""
    HISTORIES.mkdir(exist_ok=True)
    tests = [str(PATHS / f"test_workflow_{theme}.py") for theme in THEMES]
    options = ["-q", "-p", "no:cacheprovider", *tests, *sys.argv[1:]]
    return int(pytest.main(options, plugins=[Registration()]))


if __name__ == "__main__":
    raise SystemExit(main())
