"""Outages: attempts back off, and the log reports changes rather than attempts."""

from __future__ import annotations

import logging
import random
import time

_LOG = logging.getLogger(__name__)

# Pause before the second attempt; each failure in a row doubles it, up to the longest.
RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 2.0
# Time after which a lasting outage is logged again; it doubles with each line.
REPORT_SECONDS = 10.0


class Outage:
    """The failures in a row of one piece of work, from the first until it succeeds."""

    def __init__(self, work: str) -> None:
        """`work` names it in the log, as the subject of a sentence."""
        self._work = work
        self._error: Exception | None = None
        self._began = 0.0
        self._report_after = 0.0
        self._pause = 0.0

    @property
    def reason(self) -> str:
        """The last error; empty while the work succeeds."""
        return "" if self._error is None else str(self._error) or repr(self._error)

    def failed(self, error: Exception, *, expected: bool) -> float:
        """Counts a failure; returns the seconds to pause before the next attempt.

        Logs the first one, one of another type, and then at growing distances; with a stack trace unless
        `expected`.
        """
        now = time.monotonic()
        if self._error is None:
            self._began, self._report_after, self._pause = now, REPORT_SECONDS, RETRY_SECONDS
        lasted, trace = now - self._began, None if expected else error
        if type(error) is not type(self._error):
            _LOG.warning("%s fails: %s", self._work, error, exc_info=trace)
        elif lasted >= self._report_after:
            _LOG.warning("%s still fails after %.0f s: %s", self._work, lasted, error, exc_info=trace)
            self._report_after = 2 * lasted
        self._error = error
        pause, self._pause = self._pause, min(2 * self._pause, MAX_RETRY_SECONDS)
        # Jittered, so that processes do not call a service that is back all at once.
        return pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)

    def succeeded(self) -> None:
        """Ends the outage, if there is one."""
        if self._error is not None:
            _LOG.warning("%s works again after %.1f s", self._work, time.monotonic() - self._began)
            self._error = None
