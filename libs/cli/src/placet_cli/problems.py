"""Errors for users: what failed, why, and the next command to try."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

# Exit status of a program that Ctrl-C ended, as shells have it.
INTERRUPTED = 130

# Commands that act as one person.
_PERSONAL = ("placet decide", "placet cancel", "placet comment", "placet erase", "placet request")
_WITHOUT_AS = "(without --as"


class Problem(Exception):
    """Ends a command with a message instead of a stack trace.

    `what` went wrong, in one sentence; `why`, as far as it is known (may be empty, may have several
    lines); `tries` are the next commands or steps, the likeliest first. None is better than one that does not
    help.
    """

    status: ClassVar[int] = 1
    """Exit status of a command that ends with it."""

    def __init__(self, what: str, why: str = "", *, tries: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.tries = tries

    def addressed(self, *, stack: Sequence[str], identity: str | None) -> Problem:
        """Adds to each next command the options for the same stack and the same person: `stack` holds those
        that select the stack."""
        steps = [step for step in self.tries if identity is not None or _WITHOUT_AS not in step]
        self.tries = tuple(addressed_step(step, stack, identity) for step in steps)
        return self


class WrongInput(Problem):
    """Wrong usage: the command line holds a value that is refused before anything is sent."""

    status = 2


def addressed_step(step: str, stack: Sequence[str], identity: str | None) -> str:
    """A step with those options of `stack` that it does not give itself, if it is a command of ours."""
    command, gap, comment = step.partition("  (")
    if not command.startswith("placet ") or "--help" in command:
        return step
    if command.startswith(_PERSONAL) and identity and " --as " not in command and _WITHOUT_AS not in step:
        command += f" --as {shlex.quote(identity)}"
    # Its own home has ports of its own.
    wanted = () if " --home " in command else stack
    command += "".join(f" {option}" for option in wanted if f" {option.split()[0]} " not in command)
    return command + gap + comment
