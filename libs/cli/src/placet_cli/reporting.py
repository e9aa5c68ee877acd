"""The services' typed errors as a user is told of them."""

from __future__ import annotations

from collections.abc import Callable

from placet_cli.problems import Problem
from placet_client import StillPending
from placet_rpc.errors import (
    InvalidArgument,
    PlacetError,
    Unauthenticated,
    Unavailable,
)

# The next command, by the reason of the refusal. ID becomes the request's where the error names it.
_NEXT: dict[str, tuple[str, ...]] = {
    "UNKNOWN_APPROVAL": ("placet list", "placet show ID  (without --as, you see everything)"),
    "UNKNOWN_COMMAND": ("placet show ID",),
    "ID_REUSED": ("the same command without --request-id or --decision-id",),
    "CLOSED": ("placet show ID",),
    "NOT_ASKED": ("placet show ID  (says who was asked)", "placet decide ID … --as THEIR-ADDRESS"),
    "SELF_APPROVAL": ("placet decide ID … --as SOMEBODY-ELSE-WHO-WAS-ASKED",),
    "CONTENT_CHANGED": ("placet show ID",),
    "REASON_REQUIRED": ('placet decide ID reject --reason "…"',),
    "NOT_REQUESTER": ("placet cancel ID  (without --as, you run the stack and may)",),
    "BEYOND_END": ("placet audit tail  (without --from)",),
}


def _next(error: PlacetError, otherwise: str) -> tuple[str, ...]:
    named = error.metadata.get("approval_id", "")[:8]
    steps = _NEXT.get(error.reason, (otherwise,))
    return tuple(step.replace("ID", named) for step in steps) if named else steps


def problem_of(error: BaseException) -> Problem | None:
    """What to tell of an error that a service answered with, or of none answering; None for anything else."""
    if isinstance(error, BaseExceptionGroup):
        return problem_of(error.exceptions[0])
    if isinstance(error, StillPending):
        return Problem(str(error), tries=("placet show ID",))
    if not isinstance(error, PlacetError):
        return None
    for kind, told in _TOLD:
        if isinstance(error, kind):
            return told(error)
    return Problem(_sentence(error.message), tries=_next(error, "placet doctor"))


def _invalid(error: PlacetError) -> Problem:
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    why = "\n".join(f"{one.field}: {one.description}" for one in violations if one.field)
    # One violation is often the message itself, told twice.
    why = "" if len(violations) == 1 and violations[0].description in error.message else why
    return Problem(_sentence(error.message), why, tries=_next(error, "placet request --help"))


def _unavailable(error: PlacetError) -> Problem:
    what = "the stack does not answer" if not error.reason else _sentence(error.message)
    why = "" if error.reason else error.message.splitlines()[0][:200]
    return Problem(what, why, tries=("placet up  (in another terminal)", "placet doctor"))


def _unauthenticated(error: PlacetError) -> Problem:
    return Problem(
        _sentence(error.message),
        "the token is not of the stack that answered; another one may run on these ports",
        tries=("placet doctor", "the same command with the --home or --port-base of the stack you mean"),
    )


_TOLD: tuple[tuple[type[PlacetError], Callable[[PlacetError], Problem]], ...] = (
    (InvalidArgument, _invalid),
    (Unavailable, _unavailable),
    (Unauthenticated, _unauthenticated),
)


def _sentence(message: str) -> str:
    return message.strip().rstrip(".")
