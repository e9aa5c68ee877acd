"""Tenant, deadline and error of an activity's one RPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PlacetError,
)
from placet_rpc.identity import acting_for

# The RPC ends a little before the activity does, so that its error can still be reported.
SHARE_OF_TIME = 0.9
# The same call would be refused again: it breaks a rule, or its key stands for another one.
FOR_GOOD = (InvalidArgument, AlreadyExists, FailedPrecondition, OutOfRange)


@contextmanager
def one_call(tenant: str) -> Iterator[float]:
    """Acts for `tenant` and gives the RPC's timeout in seconds: most of the activity's own time.

    A typed error becomes an ApplicationError of the same name. Temporal retries it, for a service comes back
    and an operator gives what was missing (a role, a token, space on the disk), except where the same call
    must fail again: then the workflow decides what becomes of the step. Where the service says when to call
    again, the next attempt begins then. The error's detail is the number of the event that AuditService
    names.
    """
    info = activity.info()
    limit = info.start_to_close_timeout or info.schedule_to_close_timeout or timedelta(minutes=1)
    try:
        with acting_for(tenant):
            yield limit.total_seconds() * SHARE_OF_TIME
    except PlacetError as error:
        kind = error.reason or type(error).__name__
        raise ApplicationError(
            str(error),
            *([error.metadata["number"]] if "number" in error.metadata else []),
            type=kind,
            non_retryable=isinstance(error, FOR_GOOD),
            next_retry_delay=timedelta(seconds=error.retry_after) if error.retry_after else None,
        ) from error
