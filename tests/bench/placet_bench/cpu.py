"""CPU time of processes, and waits until they are idle."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

# psutil publishes no types; what is used of it is typed here at once.
import psutil

# Spans leave a process in batches, once a second: a pause shorter than that is no rest.
REST_SECONDS = 1.2
# CPU use of an idle stack, with room: shares of one core.
RESTING = 0.25
REST_LIMIT = 15.0


class Meter:
    """Reads the CPU seconds of processes by name, each with its children."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        """`pids` is asked at each reading, for a process that was started again has another id."""
        self._pids = pids

    def read(self) -> dict[str, float]:
        """Seconds of CPU since each process began."""
        return {name: cpu_seconds(pid) for name, pid in self._pids().items()}

    async def rest(self) -> None:
        """Returns when the processes have nothing to do any more, or after REST_LIMIT seconds."""
        deadline = time.monotonic() + REST_LIMIT
        while time.monotonic() < deadline:
            begun, before = time.monotonic(), sum(self.read().values())
            await asyncio.sleep(REST_SECONDS)
            used = sum(self.read().values()) - before
            if used < RESTING * (time.monotonic() - begun):
                return


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and its children, those that have ended included; 0 for one that is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return sum(_own_seconds(one) for one in [process, *process.children(recursive=True)])
    return 0.0


def _own_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def megabytes(pid: int) -> float:
    """Resident memory of a process, in MB."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def machine_seconds() -> float:
    """CPU seconds that the whole machine has been busy."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Guests are counted within user and nice.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - guests)
