"""Queries of the consumers of the audit log, as the contract's messages."""

from __future__ import annotations

from placet.approval.v1 import approval_service_pb2
from placet_approval.store.requests import RequestStore
from placet_logtail import Consumers, SkippedEntries

# Skipped entries that an answer lists for each consumer.
MOST_SKIPPED = 100


class ConsumerQueries:
    """Answers GetLogConsumers."""

    def __init__(self, consumers: Consumers, skipped: SkippedEntries, requests: RequestStore) -> None:
        self._consumers = consumers
        self._skipped = skipped
        self._requests = requests

    async def of(self, tenant: str) -> approval_service_pb2.GetLogConsumersResponse:
        """The consumers of a tenant's log."""
        answer = approval_service_pb2.GetLogConsumersResponse(lost_requests=await self._requests.lost(tenant))
        for status in sorted(self._consumers.statuses(), key=lambda status: status.consumer):
            if status.tenant != tenant:
                continue
            skipped = await self._skipped.of(tenant, status.consumer, MOST_SKIPPED)
            answer.consumers.add(
                name=status.consumer,
                next_log_index=status.position,
                end_log_index=status.end,
                leading=status.leading,
                error=status.broken,
                skipped=[
                    approval_service_pb2.SkippedEntry(log_index=log_index, reason=reason)
                    for log_index, reason in skipped
                ],
            )
        return answer
