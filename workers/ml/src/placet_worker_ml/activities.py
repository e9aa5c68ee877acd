"""The activities of queue placet-ml: jobs that read the log for minutes or hours and survive a crash."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from placet.audit.v1.audit_service_pb2 import EventFilter, ListEventsRequest, ListEventsResponse
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_domain.events import Body, Event
from placet_mapping import from_proto
from placet_temporal.calls import one_call
from placet_temporal.heartbeat import heartbeats
from placet_worker_ml import auc
from placet_worker_ml.tally import COUNTED, REMEMBERED, Tally
from placet_workflows.evaluation import EvaluationInput, EvaluationProgress, EvaluationReport
from placet_workflows.names import Activity

# Entries per page; AuditService sends fewer when they are large.
PAGE: Final = 500
# Seconds for one page: less than the heartbeat timeout, so that the error names a log that hangs.
PAGE_TIMEOUT: Final = 5.0
# Seconds between heartbeats; the SDK sends the newest every 8 s.
BEAT: Final = 1.0


class MlActivities:
    """Holds the stub that the activities call."""

    def __init__(
        self, audit: AuditServiceStub, *, page_size: int = PAGE, remembered: int = REMEMBERED
    ) -> None:
        """See PAGE and `tally.REMEMBERED`."""
        self._audit = audit
        self._page_size = page_size
        self._remembered = remembered

    @activity.defn(name=Activity.EVALUATE_MODEL)
    async def evaluate_model(self, step: EvaluationInput) -> EvaluationReport:
        """Reports how well risk scores separate what people approved from what they rejected.

        Reads the tenant's log to its present end, from the last heartbeat of the previous attempt on.
        """
        tally = Tally(step.policy, _previous_progress(), remembered=self._remembered)
        async with heartbeats(BEAT, tally.progress):
            while not tally.finished:
                page = await self._page(step.tenant, from_index=tally.next_index)
                if tally.log_size == 0:
                    tally.log_size = page.size
                if page.size == 0:
                    break
                await self._count(step.tenant, tally, page)
            # In a thread, because importing scikit-learn would delay heartbeats.
            return await asyncio.to_thread(auc.report, step, tally.progress())

    async def _count(self, tenant: str, tally: Tally, page: ListEventsResponse) -> None:
        if not page.entries:
            raise ApplicationError(f"the log ends at {page.size}, but it held {tally.log_size} entries")
        for stored in page.entries:
            if tally.finished:
                return
            approval_id, body = stored.entry.approval_id, _counted_body(stored)
            if body is not None and body.type == "decided" and tally.needs(approval_id):
                await self._read_again(tenant, tally, approval_id, before=stored.index)
            tally.take(stored.index, approval_id, body)

    async def _read_again(self, tenant: str, tally: Tally, approval_id: str, *, before: int) -> None:
        token = ""
        while True:
            page = await self._page(tenant, approval_id=approval_id, page_token=token)
            for stored in page.entries:
                body = _counted_body(stored) if stored.index < before else None
                if body is not None:
                    tally.remember(approval_id, body)
            token = page.next_page_token
            if not token or page.entries[-1].index >= before:
                return

    async def _page(
        self, tenant: str, *, approval_id: str = "", from_index: int = 0, page_token: str = ""
    ) -> ListEventsResponse:
        request = ListEventsRequest(
            filter=EventFilter(approval_id=approval_id, from_log_index=from_index),
            page_token=page_token,
            page_size=self._page_size,
        )
        with one_call(tenant):
            return await self._audit.ListEvents(request, timeout=PAGE_TIMEOUT)


def _counted_body(stored: event_pb2.LogEntry) -> Body | None:
    if stored.entry.event.WhichOneof("body") not in COUNTED:
        return None
    return from_proto(stored.entry.event, Event).body


def _previous_progress() -> EvaluationProgress:
    details = activity.info().heartbeat_details
    return EvaluationProgress.model_validate(details[0]) if details else EvaluationProgress()
