"""The throttle of one model: circuit breaker, Retry-After, and a rate limit with turns between tenants."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from opentelemetry import metrics

from placet_jobs import WAITING, FairSemaphore

_LOG = logging.getLogger(__name__)
_PAUSE = metrics.get_meter("placet.decision").create_gauge(
    "placet.decision.model.pause",
    unit="s",
    description="Seconds for which the circuit breaker keeps the model from being asked; 0: it is closed.",
)

FAILURES_IN_A_ROW = 5
"""Failures after which the circuit breaker opens."""
FIRST_PAUSE = 5.0
"""Seconds before the first probe. Each failed probe doubles them, up to LONGEST_PAUSE."""
LONGEST_PAUSE = 60.0
LONGEST_RETRY_AFTER = 3600.0
"""Seconds of a Retry-After that are honoured; then one probe asks again."""

# The rate limit admits so many seconds' worth of calls at once.
_BURST_SECONDS = 10.0


class Paused(Exception):
    """The model is not asked now. Its text says why; `seconds` until a call may be admitted."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


class Admission:
    """One admitted call. It reports `answered` or `failed`; a call that reports neither changes nothing."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle

    def answered(self) -> None:
        """The model's server answers, whatever the answer is worth."""
        self._throttle.answered(self)

    def failed(self, retry_after: float = 0.0) -> None:
        """No answer. `retry_after`: seconds that the server asks for; 0: none."""
        self._throttle.failed(self, retry_after)


class Throttle:
    """Admits calls of one model. It belongs to one event loop.

    FAILURES_IN_A_ROW open the circuit breaker for FIRST_PAUSE, a Retry-After for its own time. Then one call
    is admitted as a probe: an answer closes the breaker, a failure opens it for longer. These refuse at once.
    Calls beyond the rate limit wait, in turns per tenant.
    """

    def __init__(self, calls_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, never going back."""
        self._clock = clock
        self._per_second = calls_per_minute / 60
        self._burst = max(1.0, self._per_second * _BURST_SECONDS)
        self._calls = self._burst
        self._filled_at = clock()
        self._failures = 0
        self._pause = FIRST_PAUSE
        # None while the breaker is closed.
        self._open_until: float | None = None
        self._probe: Admission | None = None
        # Held by the one call that is next.
        self._turns = FairSemaphore(1, WAITING)
        _PAUSE.set(0)

    @asynccontextmanager
    async def admitted(self, tenant: str, patience: float) -> AsyncIterator[Admission]:
        """Admits one call for as long as the context lasts.

        Raises Paused, also when the rate limit admits none within `patience` seconds, and ResourceExhausted
        (TENANT_BUSY) when too many calls of the tenant wait.
        """
        # Whoever cannot be admitted takes no turn.
        self._check_breaker()
        await self._count(tenant, patience)
        self._check_breaker()
        admission = Admission(self)
        if self._open_until is not None:
            self._probe = admission
        try:
            yield admission
        finally:
            if self._probe is admission:
                self._probe = None

    def answered(self, admission: Admission) -> None:
        """See Admission."""
        # A late answer to an earlier call does not cut a pause short.
        if self._open_until is None or admission is self._probe:
            if self._open_until is not None:
                _LOG.info("the model answers again")
                _PAUSE.set(0)
            self._failures, self._pause, self._open_until = 0, FIRST_PAUSE, None

    def failed(self, admission: Admission, retry_after: float) -> None:
        """See Admission."""
        self._failures += 1
        pause = min(retry_after, LONGEST_RETRY_AFTER)
        if admission is self._probe or (self._open_until is None and self._failures >= FAILURES_IN_A_ROW):
            pause = max(pause, self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if pause > 0:
            self._open_until = max(self._open_until or 0.0, self._clock() + pause)
            _PAUSE.set(self._open_until - self._clock())
            _LOG.warning("the model is not asked for %.0f s, after %d failures", pause, self._failures)

    def _check_breaker(self) -> None:
        now = self._clock()
        if self._open_until is not None and now < self._open_until:
            raise Paused("it failed, or asked for time", self._open_until - now)
        if self._probe is not None:
            raise Paused("one call is trying it again", 1.0)

    async def _count(self, tenant: str, patience: float) -> None:
        until = self._clock() + patience
        try:
            async with asyncio.timeout(patience), self._turns.slot(tenant):
                while (wait := self._refilled()) > 0:
                    if self._clock() + wait > until:
                        raise Paused("its rate limit is reached", wait)
                    await asyncio.sleep(wait)
                self._calls -= 1
        except TimeoutError:
            raise Paused("its rate limit is reached", 1 / self._per_second) from None

    def _refilled(self) -> float:
        """Seconds until the rate limit admits a call; 0: now."""
        now = self._clock()
        gained = (now - self._filled_at) * self._per_second
        self._calls, self._filled_at = min(self._burst, self._calls + gained), now
        return max(0.0, (1 - self._calls) / self._per_second)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of the Retry-After header (RFC 9110, 10.2.3), at least 0; 0 where there is no valid one."""
    written = headers.get("retry-after", "").strip()
    try:
        seconds = float(written)
    except ValueError:
        seconds = _seconds_until(written)
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _seconds_until(date: str) -> float:
    try:
        time_of_retry = parsedate_to_datetime(date)
        if time_of_retry.tzinfo is None:
            time_of_retry = time_of_retry.replace(tzinfo=UTC)
        return (time_of_retry - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
