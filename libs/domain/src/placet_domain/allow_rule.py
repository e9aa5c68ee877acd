"""Allow-rules of a policy, as data: the grounds of an automatic approval."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from placet_domain.facts import Amount, parse_amount
from placet_domain.policy_part import PolicyPart

_NAME = r"^[a-z][a-z0-9-]{0,62}$"
# A name of a kind, a form or a finding.
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
_Text = Annotated[str, Field(min_length=1, max_length=254)]


def _written_amount(written: object) -> object:
    return parse_amount(written) if isinstance(written, str) else written


Limit = Annotated[
    Amount,
    BeforeValidator(_written_amount),
    PlainSerializer(lambda amount: f"{amount.value} {amount.currency}", return_type=str),
]


def _written_glob(written: object) -> object:
    if isinstance(written, str) and (written.startswith("/") or ".." in written.split("/")):
        raise ValueError(f"{written!r} is no path within a repository; write one like 'docs/**'")
    return written


Glob = Annotated[_Text, BeforeValidator(_written_glob)]


class AllowRule(PolicyPart):
    """One rule. It holds if all of its conditions hold; a list holds if one of its values does.

    Without `amount_at_most` it allows no amount, without `findings` no firm finding. It never allows content
    that tries to steer or deceive its reader.
    """

    name: str = Field(pattern=_NAME)
    # Kinds of action that the request declares.
    kinds: tuple[Word, ...] = ()
    # Addresses of people and subjects of programs that ask; letter case does not matter.
    requesters: tuple[_Text, ...] = ()
    media_types: tuple[
        Literal["text/plain", "text/markdown", "text/x-diff", "application/json", "application/pdf"], ...
    ] = ()
    # Forms that the whole text has.
    forms: tuple[Word, ...] = ()
    # Globs: the content is a diff, and each file that it touches matches one. "*" stays within a folder.
    paths: tuple[Glob, ...] = ()
    environments: tuple[_Text, ...] = ()
    counterparties: tuple[_Text, ...] = ()
    targets: tuple[_Text, ...] = ()
    # There is an amount, and every amount, declared or found, is in this currency and at most this much.
    amount_at_most: Limit | None = None
    # Bytes of content.
    size_at_most: int | None = Field(default=None, ge=1, le=1048576)
    # Firm findings that it accepts.
    findings: tuple[Word, ...] = ()

    @model_validator(mode="after")
    def _has_a_condition(self) -> AllowRule:
        conditions = self.model_dump(exclude={"name", "findings", "size_at_most"})
        if not any(conditions.values()):
            raise ValueError(
                "it has no condition, so it would allow everything; write one, like forms = ['menu'], "
                "paths = ['docs/**'] or kinds = ['payment']"
            )
        return self


def matches(glob: str, path: str) -> bool:
    """Tells whether a path within a repository matches a glob.

    "?" is a character and "*" any number of them, both without "/"; "**" is any number of folders.
    """
    parts = path.split("/")
    return not {"", ".", ".."} & set(parts) and _expression(glob).fullmatch(path) is not None


@cache
def _expression(glob: str) -> re.Pattern[str]:
    *folders, file = re.sub(r"/\*\*$", "/**/*", glob).split("/")
    within = [f"(?:{_segment(one)})/" if one != "**" else "(?:[^/]+/)*" for one in folders]
    return re.compile("".join([*within, _segment(file) if file != "**" else ".*"]))


def _segment(glob: str) -> str:
    return re.sub(r"(?:\\\*)+", "[^/]*", re.escape(glob)).replace(r"\?", "[^/]")
