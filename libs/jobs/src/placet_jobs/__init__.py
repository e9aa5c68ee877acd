"""Functions that strangers' content can make slow: in limited child processes, in turns per tenant."""

from placet_jobs.child_process import DEFAULT_LIMITS, Limits
from placet_jobs.fair_semaphore import FairSemaphore
from placet_jobs.job_runner import SLOTS, WAITING, JobFailed, JobRunner, OutOfMemory, OutOfTime, OverLimit

__all__ = [
    "DEFAULT_LIMITS",
    "SLOTS",
    "WAITING",
    "FairSemaphore",
    "JobFailed",
    "JobRunner",
    "Limits",
    "OutOfMemory",
    "OutOfTime",
    "OverLimit",
]
