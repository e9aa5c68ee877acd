"""All RPCs of the contracts in one server that only notes what reached a handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.decision.v1 import decision_service_pb2, decision_service_pb2_grpc
from placet.notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from placet_rpc.access import methods_of
from placet_rpc.server import Endpoint

# Any: generated modules, which are alike but have no type in common.
CONTRACTS: list[tuple[Any, Any]] = [
    (approval_service_pb2, approval_service_pb2_grpc),
    (audit_service_pb2, audit_service_pb2_grpc),
    (decision_service_pb2, decision_service_pb2_grpc),
    (notification_service_pb2, notification_service_pb2_grpc),
]
SERVICES: list[ServiceDescriptor] = [
    service for messages, _ in CONTRACTS for service in messages.DESCRIPTOR.services_by_name.values()
]
METHODS = methods_of(SERVICES)

Metadata = tuple[tuple[str, str], ...]


def recording_endpoints(handled: list[str]) -> list[Endpoint]:
    """All services; each call that reaches a handler adds its path to `handled`, and fails."""
    return [
        Endpoint(
            service, getattr(stubs, f"add_{service.name}Servicer_to_server"), _recorder(service, handled)
        )
        for messages, stubs in CONTRACTS
        for service in messages.DESCRIPTOR.services_by_name.values()
    ]


def _recorder(service: ServiceDescriptor, handled: list[str]) -> object:
    # Any: it looks at no message.
    def unary(path: str) -> Any:
        async def handle(self: object, request: Any, context: Any) -> Any:
            handled.append(path)
            raise RuntimeError

        return handle

    def stream(path: str) -> Any:
        async def handle(self: object, request: Any, context: Any) -> AsyncIterator[Any]:
            handled.append(path)
            if handled:  # always; what follows makes it a stream
                raise RuntimeError
            yield

        return handle

    handlers = {
        method.name: (stream if method.server_streaming else unary)(f"/{service.full_name}/{method.name}")
        for method in service.methods
    }
    return type("Recorder", (), handlers)()


def bearer(token: str, tenant: str | None = "default") -> Metadata:
    """Metadata of a call with this token, for this tenant."""
    metadata = (("authorization", f"Bearer {token}"),)
    return metadata if tenant is None else (*metadata, ("placet-tenant", tenant))
