"""Gets what is to be judged from ApprovalService, and checks that it is what the digest names."""

from __future__ import annotations

import hashlib
from typing import Protocol

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet_decision.domain import Document
from placet_rpc.errors import (
    DataLoss,
    DeadlineExceeded,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from placet_rpc.identity import acting_for


class ContentSource(Protocol):
    """Where the content of a request comes from."""

    async def fetch(self, tenant: str, approval_id: str, digest: bytes) -> Document:
        """The content with this SHA-256.

        Raises Unavailable (CONTENT_UNAVAILABLE), NotFound (UNKNOWN_CONTENT) or DataLoss (CONTENT_MISMATCH).
        """


class ApprovalContent:
    """Content as ApprovalService has it. The stub's channel carries this service's own token."""

    def __init__(self, stub: approval_service_pb2_grpc.ApprovalServiceStub) -> None:
        self._stub = stub

    async def fetch(self, tenant: str, approval_id: str, digest: bytes) -> Document:
        """Asks GetContent for the tenant; bytes with another digest are never judged."""
        request = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest)
        about = {"approval_id": approval_id}
        try:
            with acting_for(tenant):
                answer = await self._stub.GetContent(request)
        except (Unavailable, DeadlineExceeded, ResourceExhausted) as error:
            raise Unavailable(
                "ApprovalService did not give the content; try again",
                reason="CONTENT_UNAVAILABLE",
                metadata=about,
            ) from error
        except NotFound as error:
            raise NotFound(
                "ApprovalService has no such content for this request",
                reason="UNKNOWN_CONTENT",
                metadata=about,
            ) from error
        if hashlib.sha256(answer.content.body).digest() != digest:
            raise DataLoss(
                "ApprovalService gave other content than the digest names",
                reason="CONTENT_MISMATCH",
                metadata=about,
            )
        return Document(answer.title, _text(answer), answer.content.media_type)


def _text(answer: approval_service_pb2.GetContentResponse) -> str:
    # The digest covers the bytes, not what was extracted from them: where the bytes are text, judge those.
    if answer.content.media_type == "application/pdf":
        return answer.text
    return answer.content.body.decode("utf-8", errors="replace")
