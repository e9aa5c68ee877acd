"""Commands about models."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

import typer
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from placet_cli.commands.options import command
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_cli.stack.secrets import TENANT, signing_key
from placet_temporal import TemporalSettings, connect
from placet_workflows.evaluation import EvaluationInput, EvaluationReport
from placet_workflows.names import EVALUATION_WORKFLOW, TaskQueue

CONNECT_SECONDS = 3.0
PROGRESS_EVERY = 1.0


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    models = typer.Typer(help="The models that judge risk.", no_args_is_help=True)
    command(models, "evaluate")(evaluate)
    app.add_typer(models, name="models")


async def evaluate(
    session: Session,
    policy: Annotated[str, typer.Option(help="Only requests of this policy.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait for the report.")] = True,
) -> None:
    """Judge how well risk scores separate what people approved from what they rejected.

    The job runs in the ml worker and survives its death.
    """
    client = await _temporal(session)
    try:
        handle = await client.start_workflow(
            EVALUATION_WORKFLOW,
            EvaluationInput(tenant=TENANT, policy=policy),
            id=f"evaluation-{uuid.uuid4()}",
            task_queue=TaskQueue.ML,
            result_type=EvaluationReport,
        )
        session.screen.aside(f"Running as {handle.id}")
        if wait:
            _tell(session, await _result(session, handle))
    except RPCError as error:
        raise _away(session, error.message) from error
    except WorkflowFailureError as error:
        cause = error.cause.__cause__ or error.cause
        log = session.home.log("worker-ml")
        raise Problem("the evaluation failed", str(cause), tries=(f"less {log}",)) from error


async def _temporal(session: Session) -> Client:
    signing_key(session.home)  # says so when no stack was ever started here
    settings = TemporalSettings(
        temporal_address=session.address("temporal"),
        payload_key_file=session.home.payload_key,
        temporal_connect_timeout=CONNECT_SECONDS,
    )
    try:
        return await connect(settings, "placet-cli")
    except (ConnectionError, OSError, ValueError) as error:
        raise _away(session, str(error)) from error


def _away(session: Session, why: str) -> Problem:
    what = f"Temporal at {session.address('temporal')} does not answer"
    return Problem(what, why.splitlines()[0][:200], tries=("placet up", "placet doctor"))


async def _result(session: Session, handle: WorkflowHandle[object, EvaluationReport]) -> EvaluationReport:
    """The report; meanwhile, what the job says of its progress."""
    result = asyncio.create_task(handle.result())
    said = ""
    try:
        while not result.done():
            await asyncio.wait([result], timeout=PROGRESS_EVERY)
            progress = "" if result.done() else await _progress(handle)
            if progress and progress != said:
                session.screen.aside(progress)
                said = progress
        return result.result()
    finally:
        result.cancel()


async def _progress(handle: WorkflowHandle[object, EvaluationReport]) -> str:
    """What the job's last heartbeat said; "" when it said nothing yet."""
    description = await handle.describe()
    for activity in description.raw_description.pending_activities:
        details = await description.data_converter.decode(activity.heartbeat_details.payloads)
        if details:
            return ", ".join(str(detail) for detail in details)
    return ""


def _tell(session: Session, report: EvaluationReport) -> None:
    if session.json:
        session.screen.raw(report.model_dump_json(indent=2))
        return
    for name, value in report.model_dump(mode="json").items():
        session.screen.say(f"{name.replace('_', ' '):<20} {value if value != '' else '(all)'}")
