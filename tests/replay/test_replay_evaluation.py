"""An evaluation that runs survives a deployment. `record_evaluation.py` says how the histories came about."""

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
from placet_workflows.evaluation import EvaluationWorkflow

HERE = Path(__file__).resolve().parent
PATHS = [HERE / "evaluations" / f"{name}.json" for name in ("under-way", "finished")]


def history(path: Path) -> WorkflowHistory:
    """A recorded history."""
    recorded = json.loads(path.read_text())
    return WorkflowHistory.from_json(recorded["workflow_id"], recorded["history"])


def replayer(workflow: type) -> Replayer:
    """Replays with the sandbox on."""
    return Replayer(workflows=[workflow], data_converter=pydantic_data_converter, workflow_runner=sandbox())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
async def test_a_recorded_evaluation_replays(path: Path) -> None:
    await replayer(EvaluationWorkflow).replay_workflow(history(path))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
async def test_an_incompatible_change_of_the_evaluation_does_not_replay(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    # By its name, because the sandbox imports a workflow's module again.
    monkeypatch.syspath_prepend(str(HERE))
    changed = importlib.import_module("incompatible_evaluation").HesitantEvaluationWorkflow
    with pytest.raises(NondeterminismError):
        await replayer(changed).replay_workflow(history(path))
