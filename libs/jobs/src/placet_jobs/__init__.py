"""Functions that strangers' content can make slow: in limited child processes, in turns per tenant."""

from placet_jobs.fair_semaphore import FairSemaphore
from placet_jobs.job_runner import JobFailed, JobRunner, Limits, OutOfMemory, OutOfTime, OverLimit

__all__ = ["FairSemaphore", "JobFailed", "JobRunner", "Limits", "OutOfMemory", "OutOfTime", "OverLimit"]
