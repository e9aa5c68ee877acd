"""Client of AuditService: pb2 -> domain."""

from __future__ import annotations

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_rpc.errors import PlacetError
from placet_rpc.identity import acting_for, checked_tenant
from placet_witness.domain import Answer, NoAnswer


class AuditLog:
    """Log of one tenant."""

    def __init__(self, stub: AuditServiceStub, tenant: str) -> None:
        """Raises ValueError if `tenant` is no tenant's name."""
        self._stub = stub
        self._tenant = checked_tenant(tenant)

    async def checkpoint(self) -> Answer:
        """Returns its newest checkpoint. Raises NoAnswer."""
        try:
            with acting_for(self._tenant):
                response = await self._stub.GetCheckpoint(pb.GetCheckpointRequest())
        except PlacetError as error:
            raise _no_answer(error) from error
        return Answer(response.checkpoint, tuple(response.keys))

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Returns the consistency proof from one size to another. Raises NoAnswer."""
        request = pb.GetConsistencyProofRequest(first_size=first, second_size=second)
        try:
            with acting_for(self._tenant):
                response = await self._stub.GetConsistencyProof(request)
        except PlacetError as error:
            raise _no_answer(error) from error
        return tuple(response.proof)


def _no_answer(error: PlacetError) -> NoAnswer:
    said = f"{error.reason or error.grpc_kind.upper()}: {error.message}"
    return NoAnswer(said.splitlines()[0][:300])
