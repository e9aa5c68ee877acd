"""The callers of Placet: a requester and an approver, each with its own identity, through ApprovalService."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.event.v1 import event_pb2
from placet_bench.cpu import Meter
from placet_bench.load import Play
from placet_testing.conditions import SOON, until
from placet_testing.stack import ALICE, CALLER, PAYMENT, Stack, answered

# Stand-ins for what is outside of Placet: a mail server and a tracing backend.
STAND_INS = ("mail", "spans")


class ProductCallers:
    """Requester and approver of one stack. The approver learns what to decide from one stream."""

    def __init__(self, stack: Stack, requester: ApprovalServiceStub, approver: ApprovalServiceStub) -> None:
        self._requester = requester
        self._approver = approver
        self._asked: defaultdict[str, asyncio.Future[None]] = defaultdict(_future)
        self.stack = stack
        self.meter = Meter(lambda: stack.supervisor.pids)

    def playing(self, policy: str) -> Play:
        """One request by this policy, from creation to its outcome."""

        async def play() -> None:
            accepted = await self.create(policy)
            outcome = asyncio.create_task(self._outcome(accepted.approval_id))
            await self.asked(accepted.approval_id)
            await self.decide(accepted)
            await outcome

        return play

    async def create(self, policy: str) -> approval_service_pb2.RequestApprovalResponse:
        """A request; sent again while it is not answered, as callers do, and all of that counts."""
        request = approval_service_pb2.RequestApprovalRequest(
            request_id=str(uuid.uuid4()),
            title="Release the payment",
            policy=policy,
            approval=approval_service_pb2.ApprovalPayload(),
            assignments=[approval_pb2.Assignment(slot="required_approver", people=[ALICE])],
            content=approval_pb2.Content(body=PAYMENT, media_type="text/plain"),
        )
        return await until(
            lambda: answered(self._requester.RequestApproval(request, timeout=SOON)), "accepted"
        )

    async def asked(self, approval_id: str) -> None:
        """Returns once the approver was asked."""
        await self._asked[approval_id]
        del self._asked[approval_id]

    async def decide(self, accepted: approval_service_pb2.RequestApprovalResponse) -> float:
        """Seconds from the decision to EFFECTIVE. Sent again, with the same id, while it is not effective."""
        request = approval_service_pb2.SubmitDecisionRequest(
            approval_id=accepted.approval_id,
            command_id=str(uuid.uuid4()),
            approval=approval_service_pb2.ApprovalAnswer(verdict=event_pb2.VERDICT_APPROVE),
            content_digest=accepted.content_digest,
            reason="checked",
        )
        begun = time.perf_counter()
        while True:
            answer = await self._approver.SubmitDecision(request, timeout=SOON)
            if answer.result.status == approval_pb2.COMMAND_STATUS_EFFECTIVE:
                return time.perf_counter() - begun

    async def watch(self, ready: asyncio.Event) -> None:
        """Follows what waits for the approver, for ever; `ready` is set once it follows."""
        request = approval_service_pb2.WatchApprovalsRequest(
            filter=approval_service_pb2.ApprovalFilter(waiting_for_me=True)
        )
        async for change in self._approver.WatchApprovals(request):
            ready.set()
            if change.entry.entry.event.HasField("asked"):
                future = self._asked[change.approval.approval_id]
                if not future.done():
                    future.set_result(None)
        raise ConnectionError("the approver's stream ended")

    async def _outcome(self, approval_id: str) -> None:
        request = approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id)
        while True:
            answer = await self._requester.AwaitOutcome(request, timeout=SOON)
            if answer.approval.HasField("outcome"):
                return


@asynccontextmanager
async def product_on(stack: Stack) -> AsyncIterator[ProductCallers]:
    """The callers of a running stack. Raises what the approver's stream raised."""
    callers = ProductCallers(stack, await stack.as_(CALLER), await stack.as_(ALICE))
    # A feed begins with the first call of its tenant.
    await callers.create("simple")
    async with asyncio.TaskGroup() as tasks:
        ready = asyncio.Event()
        watching = tasks.create_task(callers.watch(ready))
        await ready.wait()
        yield callers
        watching.cancel()


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
