"""Runs a verification: opens its source and its witness, verifies, and prints the report."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from placet_verify.errors import CannotVerify, WrongOption, fault_of
from placet_verify.export import ExportSource
from placet_verify.findings import Findings
from placet_verify.keys import KnownKeys, load_keys
from placet_verify.options import Defaults, Request
from placet_verify.progress import Progress
from placet_verify.report import Report
from placet_verify.rows import Source, Unreadable
from placet_verify.screen import Screen
from placet_verify.sqlite import SqliteSource
from placet_verify.verification import Verification
from placet_verify.witness import KEY_FILE, Seen, read_seen, report_alarms, witness_key

if TYPE_CHECKING:
    from placet_verify.postgresql import PostgresqlSource


async def verify(
    request: Request, screen: Screen, *, as_json: bool, defaults: Defaults, command: str
) -> bool:
    """Verifies a log, prints the report, and returns whether all of it is proven.

    `command` is the user's own, for the next steps. Raises CannotVerify, WrongOption.
    """
    keys = load_keys(request.keys, request.origin, defaults.key_file, defaults.attestation_keys)
    if not keys.any:
        raise _no_key(request, defaults, command)
    findings = Findings()
    own = _own_witness(request, defaults)
    request = replace(request, witness=request.witness or own, own_witness=own is not None)
    try:
        seen = [] if request.witness is None else _seen(request.witness, keys, request.tenant, findings)
    except WrongOption as error:
        if own is None:
            raise
        what = "what this home's own witness keeps cannot be read"
        raise CannotVerify(what, error.message, tries=("placet doctor",)) from error
    with ExitStack() as stack:
        source = _source(request, defaults, stack, command)
        verification = Verification(source, keys, seen=seen, tenant=request.tenant, findings=findings)
        with Progress() as progress:
            for done in verification.run():
                progress.show(f"{done.tenant}: {done.entries:,} entries verified")
                # Lets the loop handle Ctrl-C.
                await asyncio.sleep(0)
        if isinstance(source, SqliteSource) and source.overtaken:
            what = "a service opened the database while it was read, so that nothing can be said of it"
            raise CannotVerify(what, tries=("the same command again",))
    report = Report(verification, keys, request)
    if as_json:
        screen.raw(json.dumps(report.as_json(), indent=2))
    else:
        report.print(screen, _keys_name(request, defaults))
        if own is not None and any(log.seen for log in verification.logs):
            screen.aside(f"Compared with what this home's own witness keeps in {own}.")
    return report.proven


def _no_key(request: Request, defaults: Defaults, command: str) -> CannotVerify:
    given = f"{command}{request.options} --key VKEY  (as `placet audit checkpoint --keys` prints it)"
    if defaults.key_file is None:
        return CannotVerify("there is no key to verify the log with", "none was given", tries=(given,))
    new = "placet up  (makes a home with a log and its key)"
    return CannotVerify(
        "there is no key to verify the log with",
        f"{defaults.key_file} does not exist, and none was given",
        tries=(given,) if request.database or request.export else (given, new),
    )


def _keys_name(request: Request, defaults: Defaults) -> str:
    if request.keys:
        return "the key that you gave" if len(request.keys) == 1 else "the keys that you gave"
    return f"the key of this home, {defaults.key_file}"


def _source(request: Request, defaults: Defaults, stack: ExitStack, command: str) -> Source:
    """The log to verify. Raises CannotVerify, WrongOption."""
    if request.export is not None:
        try:
            return ExportSource(request.export)
        except OSError as error:
            raise WrongOption("--export", f"{request.export}: {error.strerror}") from error
    # Services name databases with the driver too (`postgresql+psycopg`).
    scheme, _, place = request.database.partition("://")
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return stack.enter_context(closing(_postgresql(f"{kind}://{place}")))
    if request.database and kind != "sqlite":
        raise WrongOption("--database", "write sqlite:///PATH or postgresql://…")
    path = Path(place.removeprefix("/")) if request.database else defaults.database
    if path is None:
        raise WrongOption("--database", "give a database or an export to verify")
    try:
        return stack.enter_context(closing(SqliteSource(path)))
    except OSError as error:
        if request.database:
            raise WrongOption("--database", f"{path}: {error.strerror}") from error
        raise CannotVerify(
            "there is no log in this home",
            f"{path}: {error.strerror}",
            tries=(f"{command} --database URL", f"{command} --export FILE"),
        ) from error


def _postgresql(url: str) -> PostgresqlSource:
    # Imported late: the driver is an extra of this package.
    try:
        from placet_verify.postgresql import PostgresqlSource
    except ModuleNotFoundError as error:
        what, why = "PostgreSQL cannot be read", f"its driver is not installed: {error}"
        raise CannotVerify(what, why, tries=("pip install 'placet-verify[postgresql]'",)) from error
    try:
        return PostgresqlSource(url)
    except Unreadable as error:
        raise CannotVerify("the database cannot be reached", str(error)) from error


def _own_witness(request: Request, defaults: Defaults) -> Path | None:
    """The home's own witness, where the home's own log is verified and no witness was given."""
    if request.witness or request.database or request.export or defaults.witness is None:
        return None
    return defaults.witness if (defaults.witness / KEY_FILE).exists() else None


def _seen(folder: Path, keys: KnownKeys, tenant: str, findings: Findings) -> list[Seen]:
    try:
        report_alarms(folder, keys, tenant, findings)
        return list(read_seen(folder, witness_key(folder), keys, findings))
    except OSError as error:
        name = error.filename or folder
        raise WrongOption("--witness", f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise WrongOption("--witness", f"{folder}: {fault_of(error)}") from error
