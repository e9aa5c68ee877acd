"""Calls that this service refused at its own door go into its own log, without a detour over gRPC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from placet.event.v1 import event_pb2
from placet_audit.domain import TENANT_LEVEL, Append
from placet_audit.leaf import seal
from placet_rpc.refusals import AppendForTenant


def appending_by(append: Callable[[Append], Awaitable[object]]) -> AppendForTenant:
    """Appends an event of a tenant itself. Raises what the append raises."""

    async def append_for_tenant(tenant: str, event: event_pb2.Event) -> None:
        sealed = seal(event_pb2.Entry(tenant=tenant, event=event))
        await append(Append(tenant, TENANT_LEVEL, 0, (sealed,)))

    return append_for_tenant
