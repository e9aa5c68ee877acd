"""The ml worker with a failpoint: `python -m placet_testing.failpoint_ml_worker`.

While the file HALT is in the folder PLACET_FAILPOINTS, an evaluation reads the log by small pages, and gets
only the first. The file READ beside it says where each page begins that was asked for: `<process> <index>`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import grpc.aio

from placet.audit.v1.audit_service_pb2 import ListEventsRequest, ListEventsResponse
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_worker_ml import __main__ as worker

HALT = "halt-after-first-page"
READ = "pages-read"
PAGE = 5
POLL_SECONDS = 0.05


class HaltingLog:
    """AuditService as far as the worker calls it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """See the module."""
        self._audit = AuditServiceStub(channel)
        self._folder = Path(os.environ["PLACET_FAILPOINTS"])

    async def ListEvents(  # noqa: N802 - the contract's own name
        self, request: ListEventsRequest, timeout: float
    ) -> ListEventsResponse:
        """The real call, once it may be made."""
        if not request.filter.approval_id:
            with (self._folder / READ).open("a") as read:
                read.write(f"{os.getpid()} {request.filter.from_log_index}\n")
        if self._halts():
            request.page_size = PAGE
        while self._halts() and request.filter.from_log_index:  # noqa: ASYNC110 - the test sets no event in this process
            await asyncio.sleep(POLL_SECONDS)
        return await self._audit.ListEvents(request, timeout=timeout)

    def _halts(self) -> bool:
        return (self._folder / HALT).exists()


if __name__ == "__main__":
    # The one change to the real worker.
    vars(worker)["AuditServiceStub"] = HaltingLog
    sys.exit(worker.main())
