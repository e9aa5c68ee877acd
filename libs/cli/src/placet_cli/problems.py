"""What a user is told when something does not work: what, why, and the next command to try."""

from __future__ import annotations


class Problem(Exception):
    """Ends a command with a message instead of a stack trace.

    `what` went wrong, in one sentence; `why`, as far as it is known (may be empty, may have several
    lines); `tries` are the next commands or steps, the likeliest first.
    """

    def __init__(self, what: str, why: str = "", *, tries: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.tries = tries
