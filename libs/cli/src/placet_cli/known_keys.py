"""Which keys a user means to trust: those that are given, else the one of the home."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from placet_cli.home import Home
from placet_cli.problems import Problem
from placet_cli.stack.claims import shown
from placet_cli.verifying import DEFAULT_ORIGIN, KnownKeys, fault_of

KEY = typer.Option(
    "--key",
    metavar="VKEY|FILE",
    help="A public key of the log, or a file with some; may be given again. [default: the key of the home]",
    show_default=False,
)
ORIGIN = typer.Option(
    "--origin",
    envvar="PLACET_AUDIT_ORIGIN",
    metavar="NAME",
    help=f"What the logs are called, for keys without names (PEM). [default: {DEFAULT_ORIGIN}]",
    show_default=False,
    show_envvar=False,
)


def known_keys(home: Home, given: Sequence[str], origin: str) -> KnownKeys:
    """The keys; none, where none are given and the home has none.

    Raises Problem if the home's cannot be read, BadParameter for what is given and is none.
    """
    known = KnownKeys(origin or DEFAULT_ORIGIN)
    for one in given:
        try:
            known = known.with_given(one)
        except OSError as error:
            raise typer.BadParameter(f"{one}: {error.strerror or error}", param_hint="'--key'") from error
        except ValueError as error:
            raise typer.BadParameter(f"{one}: {fault_of(error)}", param_hint="'--key'") from error
    if given:
        return known
    try:
        return known.with_pem(home.log_key.read_text())
    except FileNotFoundError:
        return known
    except (OSError, ValueError) as error:
        what = f"the key of this home, {shown(home.log_key)}, cannot be used"
        raise Problem(
            what, fault_of(error), tries=("placet doctor", "the same command with --key")
        ) from error
