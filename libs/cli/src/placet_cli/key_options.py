"""Options for the keys that a log or a receipt is verified with, and the verifier's errors as Problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from placet_cli import completion
from placet_cli.home import Home, shown
from placet_cli.problems import Problem
from placet_verify import DEFAULT_ORIGIN, CannotVerify, KnownKeys, WrongOption, load_keys

KEY = typer.Option(
    "--key",
    metavar="VKEY|FILE",
    help="A public key of the log or of people's commands, or a file with some; may be given again. "
    "[default: the keys of the home]",
    show_default=False,
    autocompletion=completion.files,
)
ORIGIN = typer.Option(
    "--origin",
    envvar="PLACET_AUDIT_ORIGIN",
    metavar="NAME",
    help=f"What the logs are called, for keys without names (PEM). [default: {DEFAULT_ORIGIN}]",
    show_default=False,
    show_envvar=False,
)


@contextmanager
def verifier_errors() -> Iterator[None]:
    """Inside, errors of the verifier become those of a command: Problem, BadParameter."""
    try:
        yield
    except WrongOption as error:
        raise typer.BadParameter(error.message, param_hint=f"'{error.option}'") from error
    except CannotVerify as error:
        raise Problem(error.what, error.why, tries=error.tries) from error


def known_keys(home: Home, given: Sequence[str], origin: str) -> KnownKeys:
    """The given keys, else those of the home; none, where neither is there. Raises Problem, BadParameter."""
    with verifier_errors():
        return load_keys(given, origin, Path(shown(home.log_key)), Path(shown(home.attestation_keys)))
