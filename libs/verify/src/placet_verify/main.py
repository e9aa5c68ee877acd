"""The `placet-verify` command."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib import metadata
from pathlib import Path

from placet_verify.errors import CannotVerify, WrongOption
from placet_verify.keys import DEFAULT_ORIGIN
from placet_verify.options import Defaults, Request
from placet_verify.runner import verify
from placet_verify.screen import Terminal

# As in `placet_cli.problems`, with which the verifier shares no code.
INTERRUPTED = 130
_DESCRIPTION = (
    "Verify a whole audit log of Placet: every leaf, the tree, every signature, and every value that is "
    "there. It reads what is stored or exported, and neither asks nor trusts the service that wrote it."
)
_STATUSES = (
    "Exit status: 0 proven, 1 not proven or not to be read, 2 wrong usage. Where there is no entry, "
    "nothing is proven."
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser("placet-verify", description=_DESCRIPTION, epilog=_STATUSES)
    source = found.add_mutually_exclusive_group(required=True)
    source.add_argument("--database", metavar="URL", default="", help="sqlite:///PATH or postgresql://…")
    source.add_argument("--export", metavar="FILE", type=Path, help="what `placet audit export` wrote")
    found.add_argument(
        "--key",
        metavar="VKEY|FILE",
        action="append",
        required=True,
        help="a public key of the log, or a file with some; may be given again",
    )
    found.add_argument("--witness", metavar="FOLDER", type=Path, help="what a witness keeps, with its key")
    found.add_argument(
        "--origin", metavar="NAME", default="", help=f"the log's name, for keys in PEM [{DEFAULT_ORIGIN}]"
    )
    found.add_argument("--tenant", metavar="NAME", default="", help="only the log of this tenant")
    found.add_argument("--most", type=_positive, default=20, help="print at most this many findings [20]")
    found.add_argument("--json", action="store_true", help="print the report as JSON")
    found.add_argument(
        "--version", action="version", version=f"placet-verify {metadata.version('placet-verify')}"
    )
    return found


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def main() -> None:
    """Runs the command line; ends with its exit status."""
    known = parser()
    given = known.parse_args()
    request = Request(
        given.database, given.export, given.witness, given.key, given.origin, given.tenant, given.most
    )
    running = verify(request, Terminal(), as_json=given.json, defaults=Defaults(), command="placet-verify")
    try:
        proven = asyncio.run(running)
    except WrongOption as error:
        known.error(f"argument {error.option}: {error.message}")
    except CannotVerify as error:
        lines = (error.what, *error.why.splitlines(), *(f"Try: {step}" for step in error.tries))
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0 if proven else 1)


if __name__ == "__main__":
    main()
