"""Recovery of interrupted intakes: resumes requests whose caller did not retry."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from placet_approval.intake.service import Intake
from placet_approval.store.requests import BEGINNING, Place, Request, RequestStore
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable

_LOG = logging.getLogger(__name__)

BATCH_SIZE = 100
# Longest delay between a request's create time and its commit in another process.
_MAX_WRITE_DELAY = timedelta(minutes=10)


class IntakeRecovery:
    """Scans requests of which the view has at most `received`, in rounds of batches.

    Without a running worker there may be thousands, and the newest may be the one to resume.
    """

    def __init__(self, requests: RequestStore, intake: Intake, older_than: timedelta) -> None:
        """`older_than`: younger requests are left to their callers."""
        self._requests = requests
        self._intake = intake
        self._older_than = older_than
        # Requests before `_start` are started. `_place`: the last request checked in this round.
        self._start = self._place = BEGINNING
        self._oldest: Place | None = None

    async def run(self) -> int:
        """Resumes one batch of interrupted requests; returns the number checked.

        A request that cannot be resumed is logged and skipped. Raises Unavailable or DeadlineExceeded, naming
        the request, when a dependency does not answer. The batch then ends, because all may be affected. The
        next batch starts after this request, because it alone may be affected; the next round returns to it.
        Raises DatabaseUnavailable while the service's own database does not answer.
        """
        before = datetime.now(UTC) - self._older_than
        found = await self._requests.interrupted(self._place, before, BATCH_SIZE)
        for request in found:
            self._place = (request.create_time, request.approval_id)
            self._oldest = self._oldest or self._place
            await self._resume_or_report(request)
        if len(found) < BATCH_SIZE:
            self._start_next_round(before)
        return len(found)

    async def _resume_or_report(self, request: Request) -> None:
        try:
            await self._intake.resume(request)
        except (Unavailable, DeadlineExceeded) as error:
            raise type(error)(f"request {request.approval_id} is not started: {error}") from error
        except (PlacetError, ValueError, DecodeError) as error:
            # ValueError: its row cannot be read.
            _LOG.error("request %s cannot be resumed: %s", request.approval_id, error)

    def _start_next_round(self, before: datetime) -> None:
        settled = (before - _MAX_WRITE_DELAY, "")
        if self._oldest is not None:
            # Just before the oldest, so that the next round checks it again.
            settled = min(settled, (self._oldest[0] - timedelta.resolution, ""))
        self._start = max(self._start, settled)
        self._place, self._oldest = self._start, None
