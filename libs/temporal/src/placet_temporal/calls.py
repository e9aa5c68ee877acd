"""What every activity does around its one RPC: the tenant, the deadline, the error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from placet_rpc.errors import PlacetError
from placet_rpc.identity import acting_for

# The RPC ends a little before the activity does, so that its error can still be told.
SHARE_OF_TIME = 0.9


@contextmanager
def one_call(tenant: str) -> Iterator[float]:
    """Acts for `tenant` and gives the RPC's timeout in seconds: most of the activity's own time.

    A typed error becomes an ApplicationError of the same name, which Temporal retries: nothing that a
    workflow asks for is given up because a service refused it once, and an operator may mend the cause.
    """
    info = activity.info()
    limit = info.start_to_close_timeout or info.schedule_to_close_timeout or timedelta(minutes=1)
    try:
        with acting_for(tenant):
            yield limit.total_seconds() * SHARE_OF_TIME
    except PlacetError as error:
        kind = error.reason or type(error).__name__
        raise ApplicationError(str(error), type=kind) from error
