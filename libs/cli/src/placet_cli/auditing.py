"""`placet audit verify`: what is asked, and how it is looked for."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import typer

from placet_cli.home import Home
from placet_cli.known_keys import known_keys
from placet_cli.problems import Problem
from placet_cli.progress import Progress
from placet_cli.session import Session
from placet_cli.stack.claims import shown
from placet_cli.verdicts import Asked, Verdict
from placet_cli.verifying import (
    KEY_FILE,
    ExportSource,
    Findings,
    KnownKeys,
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


async def verify(session: Session, asked: Asked) -> bool:
    """Verifies and tells; whether all of it is proven. Raises Problem, BadParameter."""
    keys = known_keys(session.home, asked.keys, asked.origin)
    if not keys.any:
        raise _no_key(session.home, asked)
    findings = Findings()
    own = _own_witness(session.home, asked)
    asked = replace(asked, witness=asked.witness or own, own_witness=own is not None)
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
    verdict = Verdict(verification, keys, asked)
    if session.json:
        session.screen.raw(json.dumps(verdict.as_json(), indent=2))
    else:
        verdict.tell(session.screen, _whose(session.home, asked))
        if own is not None and any(log.seen for log in verification.logs):
            session.screen.aside(f"Compared with what this home's own witness keeps in {shown(own)}.")
    return verdict.proven


def _no_key(home: Home, asked: Asked) -> Problem:
    given = f"placet audit verify{asked.again} --key VKEY  (as `placet audit checkpoint --keys` prints it)"
    new = "placet up  (makes a home with a log and its key)"
    return Problem(
        "there is no key to verify the log with",
        f"{shown(home.log_key)} does not exist, and none was given",
        tries=(given,) if asked.database or asked.export else (given, new),
    )


def _whose(home: Home, asked: Asked) -> str:
    """With which keys it is verified, in words."""
    if asked.keys:
        return "the key that you gave" if len(asked.keys) == 1 else "the keys that you gave"
    return f"the key of this home, {shown(home.log_key)}"


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
