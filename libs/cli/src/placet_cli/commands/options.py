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
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from placet_cli import completion
from placet_cli.home import DEFAULT_HOME, DEFAULT_PORT_BASE
from placet_cli.lazy import spare_pydantic
from placet_cli.option_parsers import check_id, plain_message
from placet_cli.problems import INTERRUPTED, Problem, WrongInput
from placet_text import visible

if TYPE_CHECKING:
    from placet_cli.session import Session

HOME = typer.Option(
    "--home",
    envvar="PLACET_HOME",
    metavar="<path>",
    help=f"Where all data is kept. [default: {DEFAULT_HOME}]",
    show_default=False,
    autocompletion=completion.files,
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
ANSWER = "the answer as proto3 JSON"
JSON = typer.Option("--json", help=f"Print {ANSWER}, or what else COMMAND --help says.")


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

_ID_HELP = "The request's id, or its first characters."
# By their names, `request`, ids are checked before anything is sent, and named in the next command.
Id = Annotated[str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=completion.request_ids)]
OpenId = Annotated[
    str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=completion.open_request_ids)
]

_COMMON = {
    "home": (Annotated[str | None, HOME], None),
    "port_base": (Annotated[int | None, PORT_BASE], None),
    "identity": (Annotated[str | None, IDENTITY], None),
}

# A command's own parameters are its own affair; the first one is the session.
Command = Callable[..., Coroutine[Any, Any, None]]


class _PlainCommand(TyperCommand):
    """A command whose usage and errors are in plain words, and which takes no empty value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, whose values are converted only where they have to be."""
        return spare_pydantic(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`ID` and `[VERDICT]`, where typer says `{ID}` and `[[VERDICT]]`."""
        pieces = (piece.strip("{}") for piece in super().collect_usage_pieces(ctx))
        return [piece.replace("[[", "[").replace("]]", "]") for piece in pieces]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line. Raises BadParameter, without the words of the library that checked it."""
        if not ctx.resilient_parsing:
            _check_filled(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = plain_message(error)
            raise


def _check_filled(context: Any, args: list[str]) -> None:
    """Raises BadParameter for an empty or blank value, which would count as not given at all."""
    for place, one in enumerate(args):
        option, equals, value = one.partition("=")
        if one.strip() and not (one.startswith("--") and equals and not value.strip()):
            continue
        before = args[place - 1] if place else ""
        named = option if one.strip() else before if before.startswith("-") else ""
        hint = f"'{named}'" if named else None
        raise typer.BadParameter("it is empty; give a value, or leave it out", context, param_hint=hint)


def typed_in(context: typer.Context, name: str) -> bool:
    """True when an option was given on the command line at this place, not only in the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def command(
    app: typer.Typer, name: str, *, epilog: str | None = None, json: str | None = ANSWER
) -> Callable[[Command], Command]:
    """Registers an async function as a command that takes the common options, before or after its name.

    The function's first parameter is the Session; the others are typer's. `json` says what --json prints;
    with None the command does not take it.
    """

    def register(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        options: dict[str, tuple[Any, Any]] = dict(_COMMON)
        if json is not None:
            options["json"] = (Annotated[bool, typer.Option("--json", help=f"Print {json}.")], False)

        @functools.wraps(function)
        def run(context: typer.Context, **arguments: Any) -> None:
            before = context.find_root().obj or {}
            common = {key: arguments.pop(key) for key in options}
            # Options typed after the command win over those before it, and both over the environment.
            given = common | {key: value for key, value in before.items() if not typed_in(context, key)}
            if "json" in before and json is None:
                raise typer.BadParameter(f"{context.command_path} prints no JSON", param_hint="'--json'")
            # Imported late: `placet --help` needs no session.
            from placet_cli.session import Session

            session = Session.of(
                None if given["home"] is None else Path(given["home"]),
                given["port_base"],
                given["identity"],
                json=bool(given.get("json")) or arguments.get("output") is Output.JSON,
                home_is_typed=typed_in(context, "home") or "home" in before,
                ports_are_typed=typed_in(context, "port_base") or "port_base" in before,
            )
            _run(function, session, arguments, context.command_path)

        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in options.items()
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([context, *own, *common])  # type: ignore[attr-defined]  # read by typer
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [context, *own, *common]}
        app.command(name, cls=_PlainCommand, epilog=epilog)(run)
        return function

    return register


def _run(function: Command, session: Session, arguments: dict[str, Any], path: str) -> None:
    """Runs a command. Raises Problem for whatever the user can do something about."""
    try:
        if about := arguments.get("request"):
            check_id(about)
        asyncio.run(function(session, **arguments))
    except typer.Abort as end:
        _end_prompt(session, end)
    except UnicodeEncodeError as error:
        raise _not_utf8(error) from error
    except Problem as problem:
        _without_vain_steps(problem, session).addressed(stack=session.given, identity=session.identity)
        raise
    except Exception as error:
        found = _service_problem(error, session, arguments, path)
        if found is None:
            raise
        found = _without_vain_steps(found, session)
        raise found.addressed(stack=session.given, identity=session.identity) from error


def _end_prompt(session: Session, end: typer.Abort) -> NoReturn:
    """Ends a command at a question: Ctrl-C or Ctrl-D was pressed, and what was asked about is not done."""
    session.screen.aside("")
    session.screen.aside("Nothing was changed.")
    raise typer.Exit(INTERRUPTED if isinstance(end.__context__, KeyboardInterrupt) else 1) from end


def _not_utf8(error: UnicodeEncodeError) -> Exception:
    """The problem of an argument that is not UTF-8, which Python holds as halves of surrogate pairs.

    Any other error is returned as it is.
    """
    if not any("\ud800" <= one <= "\udfff" for one in error.object):
        return error
    return WrongInput(
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
    """Drops steps that act as somebody else where only a token says who acts, and puts what repairs the home
    in place of a `placet up` that would refuse to start on it."""
    if session.identity is None and not session.acts_as_anybody:
        problem.tries = tuple(step for step in problem.tries if "--as" not in step)
    vain = [step for step in problem.tries if step.startswith("placet up") and "--home" not in step]
    if vain and importlib.util.find_spec("placet_devstack") is not None:
        # By name: this package does not depend on the embedded stack.
        lost_keys = importlib.import_module("placet_devstack.lost_keys").lost_keys(session.home)
        lost = next((one.problem for one in lost_keys if one.needed), None)
        if lost is not None:
            problem.why = "\n".join(filter(None, (problem.why, lost.what)))
            problem.tries = (*lost.tries, *(step for step in problem.tries if step not in vain))
    return problem
