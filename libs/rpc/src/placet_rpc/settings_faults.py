"""What is wrong with a program's settings, in words for who sets them: by environment variable."""

from __future__ import annotations

from pydantic import ValidationError


def plainly(error: BaseException, prefix: str) -> str:
    """An error's message; of settings that do not hold, which variables are wrong and how.

    `prefix`: what stands before a setting's name in its variable, unless the setting names one itself.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    told = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in one["loc"])
        variable = name if name == name.upper() else f"{prefix}{name}".upper()
        told.append(": ".join(filter(None, (variable, one["msg"].removeprefix("Value error, ")))))
    return "; ".join(told)
