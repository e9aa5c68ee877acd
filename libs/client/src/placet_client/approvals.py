"""A request that was accepted, and the wait for its outcome."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from placet.approval.v1 import approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_client.outcome import Outcome
from placet_client.retry import TRANSIENT, pauses

# One long poll; the service may answer sooner, that it is still pending.
_POLL_SECONDS = 30.0
# A poll that comes back pending at once (a service that is stopping) is not repeated at once.
_LEAST_SECONDS = 0.2


class StillPending(TimeoutError):
    """There is no outcome yet. The request goes on; ask again whenever you like."""


class Waiter(Protocol):
    """The part of PlacetClient that a request which was accepted needs."""

    async def outcome(self, approval_id: str, timeout: float | None = None) -> Outcome:
        """See PlacetClient.outcome."""
        ...

    async def get_content(
        self, approval_id: str, content_digest: bytes | None = None
    ) -> approval_service_pb2.GetContentResponse:
        """See PlacetClient.get_content."""
        ...


@dataclass(frozen=True)
class PendingApproval:
    """A request that was accepted: it is in the log, and nothing loses it any more.

    Pass `log_index` as `min_log_index` to read your write.
    """

    id: str
    content_digest: bytes
    log_index: int
    _client: Waiter = field(repr=False, compare=False)

    async def outcome(self, timeout: float | None = None) -> Outcome:
        """Waits for the outcome, over restarts of anything, for `timeout` seconds; None: without limit.

        Raises StillPending when it is not there in time, and the typed errors of AwaitOutcome except
        those that pass.
        """
        return await self._client.outcome(self.id, timeout)

    async def content(self) -> approval_service_pb2.GetContentResponse:
        """The content, as the service keeps it: bytes, type, and the text extracted from them."""
        return await self._client.get_content(self.id, self.content_digest)


async def await_outcome(stub: ApprovalServiceStub, approval_id: str, timeout: float | None) -> Outcome:
    """See PendingApproval.outcome."""
    try:
        async with asyncio.timeout(timeout):
            return await _poll_until_closed(stub, approval_id)
    except TimeoutError as error:
        raise StillPending(f"no outcome of {approval_id} within {timeout:g} s; it goes on") from error


async def _poll_until_closed(stub: ApprovalServiceStub, approval_id: str) -> Outcome:
    waits = pauses()
    request = approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id)
    while True:
        begun = time.monotonic()
        try:
            approval = (await stub.AwaitOutcome(request, timeout=_POLL_SECONDS)).approval
        except TRANSIENT:
            await asyncio.sleep(next(waits))
            continue
        waits = pauses()
        outcome = Outcome.of(approval)
        if outcome is not None:
            return outcome
        await asyncio.sleep(max(0.0, _LEAST_SECONDS - (time.monotonic() - begun)))
