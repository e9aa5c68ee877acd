"""Runs an evaluation of risk scores on the stack, and prints its progress and its report."""

from __future__ import annotations

import asyncio
import json
import re
import shlex

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from placet_cli.commands.policies import check_policy
from placet_cli.event_rows import entries
from placet_cli.identity import TENANT, signing_key
from placet_cli.problems import Problem
from placet_cli.screen import Screen
from placet_cli.session import Session
from placet_temporal import TemporalSettings, connect
from placet_temporal.evaluations import EvaluationStatus, evaluation_status, start_evaluation
from placet_text import one_line
from placet_workflows.evaluation import (
    EvaluationInput,
    EvaluationReport,
    EvaluationWorkflow,
    VersionReport,
)

CONNECT_SECONDS = 3.0
PROGRESS_EVERY = 1.0

# Why an outcome says nothing about the scores, by the report's field.
LEFT_OUT = {
    "automatic": "approved by the pre-screen, so that no person saw them",
    "unscored": "decided by people, but without a risk score",
    "other": "decided by the fallback or the policy, or withdrawn",
    "surplus": "scored by one of too many versions of the model to keep apart",
}

Handle = WorkflowHandle[EvaluationWorkflow, EvaluationReport]


async def evaluate(session: Session, policy: str, *, wait: bool) -> None:
    """Starts an evaluation, or joins the one that runs, and prints its report. Raises Problem."""
    client = await _temporal(session)
    if policy:
        async with session.client() as service:
            await check_policy(service, policy)
    try:
        handle = await start_evaluation(client, EvaluationInput(tenant=TENANT, policy=policy))
        if wait:
            _print_report(session, await _report(session, client, handle))
        elif session.json:
            session.screen.raw(json.dumps({"id": handle.id}))
        else:
            session.screen.say(f"Running as {handle.id}; the same command waits for its report.")
    except RPCError as error:
        raise _away(session, error.message) from error
    except WorkflowFailureError as error:
        cause = error.cause.__cause__ or error.cause
        log = session.home.log("worker-ml")
        raise Problem(
            "the evaluation failed", str(cause), tries=(f"less {shlex.quote(str(log))}",)
        ) from error


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


async def _report(session: Session, client: Client, handle: Handle) -> EvaluationReport:
    """The report; meanwhile, how far the job is."""
    result = asyncio.create_task(handle.result())
    said = ""
    try:
        while not (await asyncio.wait([result], timeout=PROGRESS_EVERY))[0]:
            standing = await evaluation_status(client, handle.id)
            words = "" if standing is None else _progress(standing)
            if words and words != said:
                session.screen.aside(words)
                said = words
        return result.result()
    except asyncio.CancelledError:
        session.screen.aside("The job goes on; the same command waits for its report.")
        raise
    finally:
        result.cancel()


def _progress(standing: EvaluationStatus) -> str:
    progress = standing.progress
    done = (
        f"{progress.next_index:,} of {progress.log_size:,} entries read" if progress.log_size else "beginning"
    )
    if standing.running:
        return done if standing.attempt == 1 else f"{done} (attempt {standing.attempt})"
    return f"{done}; waiting for the ml worker{f': {standing.last_failure}' if standing.last_failure else ''}"


def _print_report(session: Session, report: EvaluationReport) -> None:
    if session.json:
        session.screen.raw(_as_json(report))
        return
    screen = session.screen
    about = f"policy {report.policy}" if report.policy else "all policies"
    screen.say(f"{entries(report.log_size)} of the log, {about}", "bold")
    for version in report.versions:
        _print_version(screen, version, report)
    if not report.versions:
        screen.say()
        screen.say("Nothing can be said: no person decided a request that had a risk score before.")
    _print_left_out(screen, report)


def _print_version(screen: Screen, version: VersionReport, report: EvaluationReport) -> None:
    screen.say()
    screen.say(f"{one_line(version.model)}: n = {version.approved} approved + {version.rejected} rejected")
    if version.auc is None or version.low is None or version.high is None:
        screen.say(f"  n is too small to say anything: at least {report.minimum} of each are needed")
        return
    interval = f"{report.confidence_level:.0%} interval {version.low:.2f} to {version.high:.2f}"
    screen.say(f"  AUC {version.auc:.2f} ({interval}); 1 separates perfectly, 0.5 not at all")


def _print_left_out(screen: Screen, report: EvaluationReport) -> None:
    counts = [(getattr(report.left_out, name), why) for name, why in LEFT_OUT.items()]
    screen.say()
    screen.say(f"Outcomes left out: {sum(count for count, _ in counts):,}")
    for count, why in counts:
        if count:
            screen.say(f"{count:>7,}  {why}")


def _as_json(report: EvaluationReport) -> str:
    """As proto3 JSON would have it, for the report is no message of the contracts."""
    return json.dumps(_camel(report.model_dump(mode="json")), indent=2)


def _camel(value: object) -> object:
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda one: one[1].upper(), key): _camel(v) for key, v in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list) else value
