"""Sees each entry twice: `python -m placet_bench.projection_probe HOME PORT_BASE`, until its input ends.

Once as AuditService tells that it is committed, once as ApprovalService tells that the view shows it (it
tells only after the view's own commit). Prints the milliseconds between, as JSON: a negative one would be
an entry that was seen in the view before the log's own tail brought it here. A process of its own, so that
the load's callers do not slow its clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from placet.approval.v1 import approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_cli.home import Home, Ports
from placet_cli.identity import TENANT, signing_key
from placet_rpc.client import channel
from placet_rpc.tokens.mint import MintingTokenSource

# Events committed just before the end need a moment to be shown.
LAST_SECONDS = 1.0


async def main() -> None:
    """See the module."""
    home, ports = Home.at(Path(sys.argv[1])), Ports(int(sys.argv[2]))
    tokens = MintingTokenSource(signing_key(home), "auditor@example.com", TENANT, ["auditor", "operator"])
    committed: dict[int, float] = {}
    shown: dict[int, float] = {}
    async with AsyncExitStack() as closing:
        audit, approval = [
            await closing.enter_async_context(channel(ports.address(name), tokens))
            for name in ("audit", "approval")
        ]
        size = (await AuditServiceStub(audit).ListEvents(audit_service_pb2.ListEventsRequest())).size
        reading = [
            asyncio.create_task(_committed(AuditServiceStub(audit), size, committed)),
            asyncio.create_task(_shown(ApprovalServiceStub(approval), size, shown)),
        ]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        await asyncio.sleep(LAST_SECONDS)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    both = sorted(committed.keys() & shown.keys())
    sys.stdout.write(json.dumps([1000 * (shown[index] - committed[index]) for index in both]) + "\n")


async def _committed(audit: AuditServiceStub, start: int, seen: dict[int, float]) -> None:
    async for response in audit.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=start)):
        now = time.perf_counter()
        seen.update((stored.index, now) for stored in response.entries)


async def _shown(approval: ApprovalServiceStub, start: int, seen: dict[int, float]) -> None:
    async for change in approval.WatchApprovals(
        approval_service_pb2.WatchApprovalsRequest(from_log_index=start)
    ):
        if change.HasField("entry"):
            seen[change.entry.index] = time.perf_counter()


if __name__ == "__main__":
    asyncio.run(main())
