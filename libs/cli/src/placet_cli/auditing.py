"""`placet audit verify`: what is asked, and what is told of what was found."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.text import Text

from placet_cli.home import Home
from placet_cli.known_keys import known_keys
from placet_cli.problems import Problem
from placet_cli.progress import Progress
from placet_cli.screen import Screen
from placet_cli.session import Session
from placet_cli.stack.claims import shown
from placet_cli.verifying import (
    KEY_FILE,
    ExportSource,
    Finding,
    Findings,
    KnownKeys,
    LogReport,
    Seen,
    Source,
    SqliteSource,
    Unreadable,
    Verification,
    fault_of,
    read_seen,
    tell_alarms,
    witness_key,
)
from placet_cli.words import clean

NOT_EXCLUDED = (
    "that a log was put back to an earlier state, deleted whole, or rewritten with its own stolen key."
)


@dataclass(frozen=True)
class Asked:
    """The command's options; empty where none was given."""

    database: str
    export: Path | None
    witness: Path | None
    keys: Sequence[str]
    origin: str
    tenant: str
    most: int


async def verify(session: Session, asked: Asked) -> bool:
    """Verifies and tells; whether nothing is wrong. Raises Problem, BadParameter."""
    keys = known_keys(session.home, asked.keys, asked.origin)
    if not keys.any:
        raise Problem(
            "there is no key to verify the log with",
            f"{shown(session.home.log_key)} does not exist, and none was given",
            tries=(
                "placet audit verify --key VKEY  (as `placet audit checkpoint --keys` prints it)",
                "placet up  (makes a home with a log and its key)",
            ),
        )
    findings = Findings()
    own = _own_witness(session.home, asked)
    asked = replace(asked, witness=asked.witness or own)
    try:
        seen = [] if asked.witness is None else _seen(asked.witness, keys, asked.tenant, findings)
    except typer.BadParameter as error:
        if own is None:
            raise
        what = "what this home's own witness keeps cannot be read"
        raise Problem(what, error.message, tries=("placet doctor",)) from error
    with ExitStack() as stack:
        source = _source(session, asked, stack)
        verification = Verification(source, keys, seen=seen, tenant=asked.tenant, findings=findings)
        with Progress() as progress:
            for done in verification.run():
                progress.show(f"{done.tenant}: {done.entries:,} entries verified")
                # So that Ctrl-C is heard.
                await asyncio.sleep(0)
        if isinstance(source, SqliteSource) and source.overtaken:
            what = "a service opened the database while it was read, so that nothing can be said of it"
            raise Problem(what, tries=("the same command again",))
    if asked.tenant and not verification.logs:
        raise Problem(f"there is no log of {asked.tenant}", tries=("placet audit verify",))
    if session.json:
        session.screen.raw(json.dumps(_as_json(verification, asked), indent=2))
    else:
        _tell(session.screen, verification, asked)
        if own is not None:
            session.screen.aside(f"Compared with what this home's own witness keeps in {shown(own)}.")
    return not findings


def _source(session: Session, asked: Asked, stack: ExitStack) -> Source:
    """What is to be verified. Raises Problem, BadParameter."""
    if asked.export is not None:
        return ExportSource(asked.export)
    # As services name databases too, with the driver (`postgresql+psycopg`).
    scheme, _, place = asked.database.partition("://")
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        # Imported late: it takes a while, and most logs that are verified here are files.
        from placet_cli.verifying.postgresql import PostgresqlSource

        try:
            return stack.enter_context(closing(PostgresqlSource(f"{kind}://{place}")))
        except Unreadable as error:
            raise Problem("the database cannot be reached", str(error)) from error
    path = Path(place.removeprefix("/")) if asked.database else session.home.database("audit")
    if asked.database and kind != "sqlite":
        raise typer.BadParameter("write sqlite:///PATH or postgresql://…", param_hint="'--database'")
    try:
        return stack.enter_context(closing(SqliteSource(path)))
    except OSError as error:
        if asked.database:
            raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="'--database'") from error
        raise Problem(
            f"there is no log in {shown(session.home.path)}",
            f"{shown(path)}: {error.strerror}",
            tries=("placet audit verify --database URL", "placet audit verify --export FILE"),
        ) from error


def _own_witness(home: Home, asked: Asked) -> Path | None:
    """What the home's own witness keeps, where the home's own log is verified and no witness was given."""
    if asked.witness or asked.database or asked.export or not (home.witness / KEY_FILE).exists():
        return None
    return home.witness


def _seen(folder: Path, keys: KnownKeys, tenant: str, findings: Findings) -> list[Seen]:
    try:
        tell_alarms(folder, keys, tenant, findings)
        return list(read_seen(folder, witness_key(folder), keys, findings))
    except OSError as error:
        name = error.filename or folder
        raise typer.BadParameter(f"{name}: {error.strerror}", param_hint="'--witness'") from error
    except ValueError as error:
        raise typer.BadParameter(f"{folder}: {fault_of(error)}", param_hint="'--witness'") from error


def _tell(screen: Screen, verification: Verification, asked: Asked) -> None:
    findings = verification.findings
    for log in verification.logs:
        wrong = findings.of(log.tenant)
        mark, style = ("✗", "bold red") if wrong else ("✓", "green")
        screen.say(
            Text.assemble((f"{mark} ", style), f"{_log(log)}, {_verdict(wrong)}{_witnessed(log, asked)}")
        )
        for key, size in log.also_signed.items():
            screen.paragraph(
                f"{clean(log.tenant)} is also signed by an unknown key, {clean(key)}, from checkpoint "
                f"{size:,} on: a hand-over? placet audit checkpoint --keys"
            )
    if not verification.logs and not findings:
        screen.say("There are no entries, and so nothing that could be verified.")
    if findings:
        if verification.logs:
            screen.say()
        else:
            screen.say("✗ No log could be verified", "bold red")
        untold = len(findings)
        for finding, *others in itertools.islice(findings.together(), asked.most):
            place = clean(finding.place_with(others))
            screen.say(Text.assemble((f"{place}: " if place else "", "bold"), clean(finding.what)))
            untold -= 1 + len(others)
        if untold:
            screen.say(f"… and {untold:,} more: --most {len(findings)}", "dim")
        screen.say()
    if not_excluded := _not_excluded(verification.logs, asked):
        screen.paragraph(f"{not_excluded}: {NOT_EXCLUDED}", "dim")


def _not_excluded(logs: Sequence[LogReport], asked: Asked) -> str:
    """Of which logs something is not; "": of none, as far as a witness saw them."""
    if asked.witness is None:
        return "Not excluded without --witness"
    if not logs:
        return "Not excluded, for the witness saw nothing"
    unseen = [clean(log.tenant) for log in logs if not log.seen]
    named = " and ".join(filter(None, (", ".join(unseen[:-1]), *unseen[-1:])))
    return f"Not excluded of {named}, which no witness saw" if unseen else ""


def _log(log: LogReport) -> str:
    root = base64.b64encode(log.root).decode()
    return f"{clean(log.tenant)}: {log.entries:,} entries, root {root}, {log.checkpoints:,} checkpoints"


def _verdict(wrong: int) -> str:
    if not wrong:
        return "all good"
    return "1 finding" if wrong == 1 else f"{wrong:,} findings"


def _witnessed(log: LogReport, asked: Asked) -> str:
    if asked.witness is None:
        return ""
    return f"; a witness saw {log.seen:,} of them" if log.seen else "; no witness saw any of them"


def _as_json(verification: Verification, asked: Asked) -> dict[str, object]:
    findings = verification.findings
    shown_ones: list[Finding] = list(itertools.islice(findings, asked.most))
    return {
        "proven": not findings,
        "witnessed": bool(verification.logs) and all(log.seen for log in verification.logs),
        "logs": [
            {
                "tenant": log.tenant,
                "entries": log.entries,
                "root": base64.b64encode(log.root).decode(),
                "checkpoints": log.checkpoints,
                "findings": findings.of(log.tenant),
                "witnessed": log.seen > 0,
                "seenByWitness": log.seen,
                "alsoSignedBy": [
                    {"key": key, "fromCheckpoint": size} for key, size in log.also_signed.items()
                ],
            }
            for log in verification.logs
        ],
        "findings": [one.as_json() for one in shown_ones],
        "findingsLeftOut": len(findings) - len(shown_ones),
    }
