"""The services' typed errors as problems for the user."""

from __future__ import annotations

import re

from placet_cli.option_parsers import OPTION_OF_SLOT
from placet_cli.problems import Problem
from placet_client import StillPending
from placet_rpc.errors import (
    InvalidArgument,
    PlacetError,
    Unauthenticated,
    Unavailable,
)

AGAIN = "the same command again"
_LATER = f"{AGAIN}, later"
# The next command, by the reason of the refusal: all that this program can meet, and only what helps for it;
# `placet doctor` finds faults of the stack alone. ID becomes the request's where the error names it.
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
    "NOT_INVOLVED": ("placet show ID  (says who asked and who was asked)",),
    "COMMENT_EMPTY": ('placet comment ID "…"',),
    "CONTENT_LOST": (
        "placet request FILE --request-id UUID  (the call that asked, once more, restores the content)",
        "placet doctor",
    ),
    "RECEIPT_TOO_LARGE": ("placet audit export FILE",),
    "ALREADY_VOTED": ("placet show ID  (says for whom it waits)",),
    "TOO_MANY_COMMANDS": ("placet show ID",),
    "TOO_MANY_COMMENTS": ("placet show ID",),
    "UNKNOWN_POLICY": ("placet policies",),
    "BEYOND_END": ("the same command without --from",),
    "PAGE_TOKEN_INVALID": (AGAIN,),
    "TOO_MANY_CALLS": (_LATER,),
    "TENANT_BUSY": (_LATER,),
    "RESOURCE_EXHAUSTED": (_LATER,),
    "DEADLINE_EXCEEDED": ("placet list  (it may have taken effect)", AGAIN, "placet doctor"),
    "DATA_LOSS": ("placet audit verify", "placet doctor"),
    "LOG_INCONSISTENT": ("placet audit verify  (names what does not fit)", "placet doctor"),
    "ROLE_REQUIRED": ("the same command without --as: whoever runs the stack has all roles of people",),
}

# The next command by the field that is wrong. For others the command's --help says what they may be.
_NEXT_BY_FIELD = {
    "policy": "placet policies",
    "filter.policy": "placet policies",
    "deadline_time": "--deadline '2 days'",
    "request_id": "the same command without --request-id",
    "command_id": "the same command without --command-id",
}

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
    by_field = dict.fromkeys(_next_step(one.field, one.description, command) for one in error.violations)
    steps = _steps(_NEXT.get(error.reason) or tuple(by_field) or (f"{command} --help",), about)
    if len(broken) == 1 and error.reason not in _NEXT:
        # One violation is the message itself, said twice.
        return Problem(_sentence(broken[0]), tries=steps)
    # One that has words of its own needs no field.
    why = "" if error.reason in _NEXT else "\n".join(broken)
    what = f"{len(broken)} values are not valid" if why else _sentence(error.message)
    return Problem(what, why, tries=steps)


def _plain(rule: str) -> str:
    """A broken rule in words: patterns of the contracts forbid characters, and say so to programs only."""
    if re.fullmatch(r"(value length )?must be at least 1 \w+", rule):
        return "must not be empty"
    if "regex pattern" not in rule:
        return re.sub(r"\b1 (character|byte|item)s\b", r"1 \1", rule)
    return "must be one line without NUL characters" if "\\r\\n" in rule else "must not hold NUL characters"


def _next_step(field: str, rule: str, command: str) -> str:
    """The step that helps when a field breaks a rule."""
    if field.startswith("--"):
        # A person, with the option as it was given.
        return re.sub(r"(?<=[ =])[^ =]+$", "SOMEBODY-ELSE", field)
    policy = re.search(r"policy '([^']+)'", rule) if field.startswith("assignments") else None
    if policy is not None:
        return f"placet policies {policy[1]}  (says whom it asks)"
    return _NEXT_BY_FIELD.get(field, f"{command} --help")


def _given_as(field: str, description: str) -> str:
    """The option or argument that a field of the contract was given by; a list's item is its list."""
    slot = re.search(r"'([a-z][a-z0-9_]*)'", description) if field.startswith("assignments") else None
    if slot is not None:
        return OPTION_OF_SLOT.get(slot[1], f"--assign {slot[1]}=WHO")
    return _GIVEN_AS.get(re.sub(r"\[.*\]", "", field), field)


def _unavailable(error: Unavailable) -> Problem:
    if error.reason:
        # Something answered, so that the stack runs.
        return Problem(_sentence(error.message), tries=(AGAIN, "placet doctor"))
    why = _why_unreachable(error.message)
    steps = ("placet up  (in another terminal)", "placet doctor")
    return Problem("the stack does not answer", why, tries=steps)


def _why_unreachable(message: str) -> str:
    """gRPC's words, or plainer ones where it could not connect."""
    refused = re.search(r"ipv[46]:(\S+): Failed to connect", message)
    return f"nothing listens at {refused[1]}" if refused else message.splitlines()[0][:200]


def _unauthenticated(error: Unauthenticated) -> Problem:
    if error.reason in ("TOKEN_EXPIRED", "TOKEN_REVOKED"):
        return Problem(_sentence(error.message), tries=("set PLACET_TOKEN_FILE to a token that is valid",))
    return Problem(
        _sentence(error.message),
        "the token is not of the stack that answered; another one may run on these ports",
        tries=("placet doctor", "the same command with the --home or --port-base of the stack you mean"),
    )


def _sentence(message: str) -> str:
    return message.strip().rstrip(".")
