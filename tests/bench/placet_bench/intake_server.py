"""`python -m placet_bench.intake_server product|bare`: RequestApproval and nothing behind it.

The product is ApprovalService as it is deployed, on its settings from the environment, with a Temporal that
answers at once; bare is a grpc.aio server that answers the same RPC without looking at it.
"""

from __future__ import annotations

import asyncio
import sys
import uuid

import grpc
import grpc.aio

from placet.approval.v1 import approval_service_pb2
from placet_approval.__main__ import assembled
from placet_approval.adapters.temporal import Workflows
from placet_approval.config import Settings
from placet_cli.home import HOST
from placet_rpc.server import RunningServer, serve
from placet_telemetry import setup
from placet_workflows.activity_types import ApprovalInput


class AnsweringAtOnce(Workflows):
    """Temporal, as far as intake knows it."""

    def __init__(self) -> None:
        """Connects to nothing."""

    async def start(self, start: ApprovalInput) -> None:
        """Starts nothing."""


async def answer(
    _request: approval_service_pb2.RequestApprovalRequest, _context: object
) -> approval_service_pb2.RequestApprovalResponse:
    """With as much as the product does."""
    return approval_service_pb2.RequestApprovalResponse(
        approval_id=str(uuid.uuid4()), content_digest=bytes(32), log_index=1
    )


async def product() -> None:
    """Until SIGTERM."""
    settings = Settings()
    async with assembled(settings, AnsweringAtOnce()) as service:
        await serve(
            settings.server(),
            [service.endpoint],
            on_access_refused=service.on_access_refused,
            ready=_ready,
        )


async def bare() -> None:
    """Until it is ended."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        answer,
        approval_service_pb2.RequestApprovalRequest.FromString,
        approval_service_pb2.RequestApprovalResponse.SerializeToString,
    )
    service = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"].full_name
    handler = grpc.method_handlers_generic_handler(service, {"RequestApproval": method})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    _say(port)
    await server.wait_for_termination()


def _ready(server: RunningServer) -> None:
    _say(server.port)


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "product":
        setup("approval")
        asyncio.run(product())
    else:
        asyncio.run(bare())
