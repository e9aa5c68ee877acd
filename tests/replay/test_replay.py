"""Open requests survive a deployment: the workflow as it is now replays what it once did.

`record.py` says how the histories came about.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from placet_testing.workflow_environment import sandbox
from placet_workflows.approval import ApprovalWorkflow

HERE = Path(__file__).resolve().parent
HISTORIES = sorted((HERE / "histories").glob("*.json"))
THEMES = (
    "paths-simple",
    "paths-ai-fallback",
    "paths-escalating",
    "paths-document",
    "commands",
    "appends",
    "notices",
    "renewal",
    "restart",
)


def history(path: Path) -> WorkflowHistory:
    """A recorded history."""
    recorded = json.loads(path.read_text())
    return WorkflowHistory.from_json(recorded["workflow_id"], recorded["history"])


def replayer(workflow: type) -> Replayer:
    """Replays with the sandbox on."""
    return Replayer(workflows=[workflow], data_converter=pydantic_data_converter, workflow_runner=sandbox())


@pytest.fixture(scope="module")
def current() -> Replayer:
    """The workflow as it is."""
    return replayer(ApprovalWorkflow)


@pytest.mark.parametrize("theme", THEMES)
def test_there_are_histories_of_every_theme(theme: str) -> None:
    assert any(path.name.startswith(theme) for path in HISTORIES)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(current: Replayer, path: Path) -> None:
    await current.replay_workflow(history(path))


@pytest.mark.parametrize("path", HISTORIES[:: max(1, len(HISTORIES) // 7)], ids=lambda path: path.stem)
async def test_an_incompatible_change_does_not_replay(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    # By its name, because the sandbox imports a workflow's module again.
    monkeypatch.syspath_prepend(str(HERE))
    changed = importlib.import_module("incompatible").ForgetfulApprovalWorkflow
    with pytest.raises(NondeterminismError):
        await replayer(changed).replay_workflow(history(path))
