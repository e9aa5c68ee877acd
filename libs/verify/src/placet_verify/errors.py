"""Errors that end a verification before it begins."""

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
