"""When a notice may be tried within a workflow task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

# After an attempt that failed, none is made for so long, in seconds; then one finds out how things are.
REST = 5.0
# Attempts at a time. Each holds one of the worker's hundred workflow tasks for up to half a second.
MOST = 30


class Hurry:
    """Lets notices be tried within workflow tasks while that goes well.

    What is refused here goes by the queue, where nobody waits for it: a slow mail server must not hold the
    tasks in which other requests are decided. It is for one process, and the event loop's thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._running = 0
        self._rests_until = 0.0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt. Raises ApplicationError, to be tried by the queue, when it may not be made."""
        now = self._clock()
        if self._running >= MOST or now < self._rests_until:
            raise ApplicationError(
                "notices are slow now; this one goes by the queue",
                type="NOT_NOW",
                category=ApplicationErrorCategory.BENIGN,
            )
        if self._rests_until:
            # The others wait for what becomes of this one.
            self._rests_until = now + REST
        self._running += 1
        try:
            yield
        except BaseException:
            self._rests_until = self._clock() + REST
            raise
        else:
            self._rests_until = 0.0
        finally:
            self._running -= 1
