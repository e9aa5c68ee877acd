"""The child's side of a job: limits, then the work, then its answer. It imports little."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

# Lower priority than the processes that answer callers.
NICENESS = 10


@dataclass(frozen=True)
class Limits:
    """Limits of one job."""

    cpu_seconds: int = 10
    # Elapsed time: longer than the CPU time, because the CPU is shared.
    seconds: float = 20
    # Address space; Python and its libraries take a tenth.
    mebibytes: int = 512


DEFAULT_LIMITS = Limits()


def answer_job(
    answers: Connection, limits: Limits, work: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    """Sends (True, result), or (False, the exception that was raised). The kernel enforces the limits."""
    # An error that untrusted content provokes goes to its sender, not to the operator's log.
    logging.lastResort = None
    warnings.simplefilter("ignore")
    try:
        _limit(limits)
        answer = pickle.dumps((True, work(*arguments)))
    except Exception as error:  # noqa: BLE001 (every error is the caller's to handle)
        answer = pickle.dumps((False, _portable(error)))
    answers.send_bytes(answer)


def _limit(limits: Limits) -> None:
    os.nice(NICENESS)
    # Also without a parent, which else ends it: a job ends by itself.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + 1)
    cpu_seconds = limits.cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (limits.mebibytes << 20, limits.mebibytes << 20))
    for resource_kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(resource_kind, (0, 0))


def _portable(error: Exception) -> Exception:
    """The error, or its text where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (a library's error may fail in any way)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
