"""The sweeper: goes on with requests whose intake was cut short and whose caller never came back."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from placet_approval.intake.service import Intake
from placet_approval.store.requests import BEGINNING, Place, Request, RequestStore
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable

_LOG = logging.getLogger("placet.approval.sweeping")

AT_ONCE = 100
# How far behind its clock another process may still write a request down.
_LATECOMERS = timedelta(minutes=10)


class Sweeper:
    """Goes through all requests that the view knows only as received, again and again, some at a time: with
    no worker alive there may be thousands, and the one that needs the sweeper may be the newest.
    """

    def __init__(self, requests: RequestStore, intake: Intake, older_than: timedelta) -> None:
        """Younger requests than `older_than` are left to their callers."""
        self._requests = requests
        self._intake = intake
        self._older_than = older_than
        # Everything before `_start` is under way. `_place` is how far this round has come.
        self._start = self._place = BEGINNING
        self._oldest: Place | None = None

    async def sweep(self) -> int:
        """Goes on with some of the requests that were cut short; answers how many it looked at.

        One that cannot be gone on with fails alone. Raises Unavailable or DeadlineExceeded, naming the
        request, when something does not answer: it may be away for all, so the sweep ends; it may be away for
        this one alone, so the next sweep begins behind it, and the next round comes back to it. Raises
        DatabaseUnavailable while the service's own database does not answer.
        """
        before = datetime.now(UTC) - self._older_than
        found = await self._requests.cut_short(self._place, before, AT_ONCE)
        for request in found:
            self._place = (request.create_time, request.approval_id)
            self._oldest = self._oldest or self._place
            await self._mend(request)
        if len(found) < AT_ONCE:
            self._begin_again(before)
        return len(found)

    async def _mend(self, request: Request) -> None:
        try:
            await self._intake.go_on(request)
        except (Unavailable, DeadlineExceeded) as error:
            raise type(error)(f"request {request.approval_id} is not started: {error}") from error
        except (PlacetError, ValueError) as error:
            # ValueError: its row cannot be read.
            _LOG.error("request %s cannot be started: %s", request.approval_id, error)

    def _begin_again(self, before: datetime) -> None:
        settled = (before - _LATECOMERS, "")
        if self._oldest is not None:
            # Just before the oldest, so that the next round finds it if it still waits.
            settled = min(settled, (self._oldest[0] - timedelta.resolution, ""))
        self._start = max(self._start, settled)
        self._place, self._oldest = self._start, None
