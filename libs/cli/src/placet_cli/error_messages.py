"""The services' typed errors as problems for the user."""

from __future__ import annotations

import re

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
    "ID_REUSED": ("the same command without --request-id or --command-id",),
    "CLOSED": ("placet show ID",),
    "NOT_ASKED": ("placet show ID  (says who was asked)", "placet decide ID … --as THEIR-ADDRESS"),
    "SELF_APPROVAL": ("placet decide ID … --as SOMEBODY-ELSE-WHO-WAS-ASKED",),
    "CONTENT_CHANGED": ("placet show ID --content",),
    "POLICY_CHANGED": ("placet show ID", "placet policies"),
    "RENDERING_CHANGED": ("placet show ID --content",),
    "REASON_REQUIRED": ('placet decide ID reject --reason "…"',),
    "NOT_REQUESTER": ("placet cancel ID  (without --as, you run the stack and may)",),
    "NOT_CLOSED": ("placet cancel ID", "placet show ID"),
    "RETAINED": ('placet erase ID --before-retention --reason "…"  (where somebody may demand it)',),
    "ERASED": ("placet show ID",),
    "BEYOND_END": ("placet audit tail  (without --from)",),
    "LOG_INCONSISTENT": ("placet audit verify  (names what does not fit)", "placet doctor"),
    "ROLE_REQUIRED": ("the same command without --as: whoever runs the stack has all roles of people",),
}

# The well-known slots by the options that fill them; any other is filled by --assign.
_BY_SLOT = {"required_approver": "--approver", "manager_approver": "--manager"}

# The contract's fields by what a user calls them.
_GIVEN_AS = {
    "subject_id": "--subject",
    "request_id": "--request-id",
    "command_id": "--command-id",
    "deadline_time": "--deadline",
    **dict.fromkeys(
        ("assignments", "assignments.slot", "assignments.people", "assignments.groups"),
        "--approver, --manager or --assign",
    ),
    "content.body": "FILE",
    **{name: f"--{name}" for name in ("title", "policy", "priority", "reason")},
    "labels": "--label",
    "text": "TEXT",
    "filter.states": "--state",
    "filter.labels": "--label",
    "filter.subject_id": "--subject",
    "from_create_time": "--since",
    "until_create_time": "--until",
    **{f"filter.{name}": f"--{name}" for name in ("policy", "requester", "approver")},
}


def problem_of(error: PlacetError | StillPending, about: str = "", command: str = "placet") -> Problem:
    """Translates an error of a service, or the lack of any answer, into a Problem.

    `about` is the request's id as the user gave it, for the next command; `command` is the one that failed.
    """
    if isinstance(error, StillPending):
        return Problem(str(error), tries=_steps(("placet wait ID",), about))
    if isinstance(error, InvalidArgument):
        return _invalid(error, about, command)
    if isinstance(error, Unavailable):
        return _unavailable(error)
    if isinstance(error, Unauthenticated):
        return _unauthenticated(error)
    # A method's name says nothing to a user.
    what = re.sub(r"^placet\.[\w.]+/\w+ needs", "this needs", _sentence(error.message))
    return Problem(what, tries=_steps(_NEXT.get(error.reason, ("placet doctor",)), about))


def _steps(steps: tuple[str, ...], about: str) -> tuple[str, ...]:
    return tuple(step.replace("ID", about[:8]) for step in steps) if about else steps


def _invalid(error: InvalidArgument, about: str, command: str) -> Problem:
    broken = [
        f"{_given_as(one.field, one.description)}: {_plain(one.description)}"
        for one in error.violations
        if one.field
    ]
    steps = _steps(_NEXT.get(error.reason, (f"{command} --help",)), about)
    if len(broken) == 1 and error.reason not in _NEXT:
        # One violation is the message itself, said twice.
        return Problem(_sentence(broken[0]), tries=steps)
    # One that has words of its own needs no field.
    why = "" if error.reason in _NEXT else "\n".join(broken)
    what = f"{len(broken)} values are not valid" if why else _sentence(error.message)
    return Problem(what, why, tries=steps)


def _plain(rule: str) -> str:
    """A broken rule in words: patterns of the contracts forbid characters, and say so to programs only."""
    if "regex pattern" not in rule:
        return rule
    return "must be one line without NUL characters" if "\\r\\n" in rule else "must not hold NUL characters"


def _given_as(field: str, description: str) -> str:
    """The option or argument that a field of the contract was given by; a list's item is its list."""
    slot = re.search(r"'([a-z][a-z0-9_]*)'", description) if field.startswith("assignments") else None
    if slot is not None:
        return _BY_SLOT.get(slot[1], f"--assign {slot[1]}=WHO")
    return _GIVEN_AS.get(re.sub(r"\[.*\]", "", field), field)


def _unavailable(error: Unavailable) -> Problem:
    what = "the stack does not answer" if not error.reason else _sentence(error.message)
    why = "" if error.reason else _why_unreachable(error.message)
    return Problem(what, why, tries=("placet up  (in another terminal)", "placet doctor"))


def _why_unreachable(message: str) -> str:
    """gRPC's words, or plainer ones where it could not connect."""
    refused = re.search(r"ipv[46]:(\S+): Failed to connect", message)
    return f"nothing listens at {refused[1]}" if refused else message.splitlines()[0][:200]


def _unauthenticated(error: Unauthenticated) -> Problem:
    return Problem(
        _sentence(error.message),
        "the token is not of the stack that answered; another one may run on these ports",
        tries=("placet doctor", "the same command with the --home or --port-base of the stack you mean"),
    )


def _sentence(message: str) -> str:
    return message.strip().rstrip(".")
