"""The options that every command takes, declared once."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from placet_cli.home import DEFAULT_HOME, DEFAULT_PORT_BASE
from placet_cli.problems import Problem
from placet_text import visible

if TYPE_CHECKING:
    from placet_cli.session import Session

HOME = typer.Option(
    "--home",
    envvar="PLACET_HOME",
    help=f"Where all data is kept. [default: {DEFAULT_HOME}]",
    show_default=False,
)
PORT_BASE = typer.Option(
    "--port-base",
    envvar="PLACET_PORT_BASE",
    help=f"The first of the stack's ports. [default: the running stack's, else {DEFAULT_PORT_BASE}]",
    show_default=False,
)
IDENTITY = typer.Option(
    "--as",
    metavar="ADDRESS",
    help="Act as this person. [default: you@localhost, who runs the stack]",
    show_default=False,
)
JSON = typer.Option("--json", help="Print the answer as proto3 JSON.")


# Characters of an argument that an error quotes.
_QUOTED = 80


class Output(StrEnum):
    """Values of `--output`, where a command has it."""

    TABLE = "table"
    JSON = "json"
    ID = "id"


OutputOption = Annotated[
    Output,
    typer.Option("--output", help="For people, proto3 JSON like --json, or ids alone, one a line."),
]

Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id, or its first characters.")]

_COMMON = {
    "home": (Annotated[Path | None, HOME], None),
    "port_base": (Annotated[int | None, PORT_BASE], None),
    "identity": (Annotated[str | None, IDENTITY], None),
    "json": (Annotated[bool, JSON], False),
}

# A command's own parameters are its own affair; the first one is the session.
Command = Callable[..., Coroutine[Any, Any, None]]


class _PlainCommand(TyperCommand):
    """A command whose usage and errors are in plain words."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`ID` and `[VERDICT]`, where typer says `{ID}` and `[[VERDICT]]`."""
        pieces = (piece.strip("{}") for piece in super().collect_usage_pieces(ctx))
        return [piece.replace("[[", "[").replace("]]", "]") for piece in pieces]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line. Raises BadParameter, without the words of the library that checked it."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


def typed_in(context: typer.Context, name: str) -> bool:
    """True when an option was given on the command line at this place, not only in the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def command(app: typer.Typer, name: str, *, epilog: str | None = None) -> Callable[[Command], Command]:
    """Registers an async function as a command that takes the common options, before or after its name.

    The function's first parameter is the Session; the others are typer's.
    """

    def register(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]

        @functools.wraps(function)
        def run(context: typer.Context, **arguments: Any) -> None:
            before = context.find_root().obj or {}
            common = {key: arguments.pop(key) for key in _COMMON}
            # Options typed after the command win over those before it, and both over the environment.
            given = common | {key: value for key, value in before.items() if not typed_in(context, key)}
            # Imported late: `placet --help` needs no session.
            from placet_cli.session import Session

            session = Session.of(
                given["home"],
                given["port_base"],
                given["identity"],
                json=bool(given["json"]) or arguments.get("output") is Output.JSON,
                home_is_typed=typed_in(context, "home") or "home" in before,
            )
            try:
                asyncio.run(function(session, **arguments))
            except UnicodeEncodeError as error:
                raise _not_utf8(error) from error
            except Problem as problem:
                _without_vain_steps(problem, session).addressed(
                    stack=session.given, identity=session.identity
                )
                raise
            except Exception as error:
                found = _service_problem(error, session, arguments, context.command_path)
                if found is None:
                    raise
                found = _without_vain_steps(found, session)
                raise found.addressed(stack=session.given, identity=session.identity) from error

        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _COMMON.items()
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([context, *own, *common])  # type: ignore[attr-defined]  # read by typer
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [context, *own, *common]}
        app.command(name, cls=_PlainCommand, epilog=epilog)(run)
        return function

    return register


def _not_utf8(error: UnicodeEncodeError) -> Exception:
    """The problem of an argument that is not UTF-8, which Python holds as halves of surrogate pairs.

    Any other error is returned as it is.
    """
    if not any("\ud800" <= one <= "\udfff" for one in error.object):
        return error
    return Problem(
        f"{visible(error.object[:_QUOTED])} is not UTF-8 text, and cannot be sent",
        "an argument holds bytes of another encoding",
        tries=("locale  (says which encoding this terminal uses)",),
    )


def _service_problem(
    error: Exception, session: Session, arguments: dict[str, Any], command_path: str
) -> Problem | None:
    """An error of a service as a Problem for the user; None for any other error."""
    # Imported late: only a command that fails needs it.
    from placet_cli.error_messages import problem_of
    from placet_client import StillPending
    from placet_rpc.errors import PermissionDenied, PlacetError, Unavailable

    if not isinstance(error, PlacetError | StillPending):
        return None
    about = arguments.get("request")
    problem = problem_of(error, about if isinstance(about, str) else "", command_path)
    if isinstance(error, Unavailable) and (starting := session.starting):
        return Problem(starting, tries=("placet doctor --wait 60", "the same command again"))
    if isinstance(error, Unavailable) and session.elsewhere:
        return Problem(problem.what, session.elsewhere, tries=("the same command without --port-base",))
    if isinstance(error, PermissionDenied) and error.reason == "ROLE_REQUIRED":
        problem.what = f"{session.acting} may not do this; {problem.what}"
        problem.tries = session.with_the_role
    return problem


def _without_vain_steps(problem: Problem, session: Session) -> Problem:
    """Puts what repairs the home in place of a `placet up` that would refuse to start on it."""
    vain = [step for step in problem.tries if step.startswith("placet up") and "--home" not in step]
    if vain and importlib.util.find_spec("placet_devstack") is not None:
        # By name: this package does not depend on the embedded stack.
        lost_keys = importlib.import_module("placet_devstack.lost_keys").lost_keys(session.home)
        lost = next((one.problem for one in lost_keys if one.needed), None)
        if lost is not None:
            problem.why = "\n".join(filter(None, (problem.why, lost.what)))
            problem.tries = (*lost.tries, *(step for step in problem.tries if step not in vain))
    return problem
