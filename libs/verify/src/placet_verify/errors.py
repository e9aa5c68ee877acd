"""Errors that end a verification before it begins, and the reasons of read errors."""

from __future__ import annotations


class CannotVerify(Exception):
    """Nothing can be verified: the cause, and the next steps for the user."""

    def __init__(self, what: str, why: str = "", *, tries: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.tries = tries


class WrongOption(Exception):
    """An option has a value that cannot be used."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option
        self.message = message


def fault_of(error: Exception) -> str:
    """The reason of an error, as it follows a colon; an error of this package has its own words."""
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    if isinstance(error, OverflowError | MemoryError):
        return "a value in it is too large"
    return str(error)
