"""Gets what is to be decided from ApprovalService, and checks that it is what the digest names."""

import hashlib
from typing import Protocol

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet_notification.domain import Content
from placet_rpc.errors import PlacetError
from placet_rpc.identity import acting_for
from placet_text import warning_words


class ContentUnavailable(Exception):
    """The content cannot be had now, or is not what its digest says."""


class ContentSource(Protocol):
    """Where the content of a request comes from."""

    async def fetch(self, tenant: str, approval_id: str, digest: bytes, *, within: float) -> Content:
        """The content with this SHA-256, in at most `within` seconds. Raises ContentUnavailable."""


class ApprovalContent:
    """Content as ApprovalService has it. The stub's channel carries this service's own token."""

    def __init__(self, stub: approval_service_pb2_grpc.ApprovalServiceStub) -> None:
        self._stub = stub

    async def fetch(self, tenant: str, approval_id: str, digest: bytes, *, within: float) -> Content:
        """Asks GetContent for the tenant; bytes with another digest are not shown to anybody."""
        request = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest)
        try:
            with acting_for(tenant):
                answer = await self._stub.GetContent(request, timeout=within)
        except PlacetError as error:
            raise ContentUnavailable(f"ApprovalService did not give the content: {error}") from error
        if hashlib.sha256(answer.content.body).digest() != digest:
            raise ContentUnavailable("ApprovalService gave other content than the digest names")
        return _content(answer)


def _content(answer: approval_service_pb2.GetContentResponse) -> Content:
    # The digest covers the bytes, not what was extracted from them: where the bytes are text, show them.
    if answer.content.media_type == "application/pdf":
        text, extracted = answer.text, True
    else:
        text, extracted = answer.content.body.decode("utf-8", errors="replace"), False
    warnings = tuple(_warning(one) for one in answer.warnings)
    return Content(text=text, requester=answer.requester, extracted=extracted, warnings=warnings)


def _warning(warning: approval_service_pb2.TextWarning) -> str:
    # A kind that only a later service knows has no name here, and is told all the same.
    names = {number: name for name, number in approval_service_pb2.TextWarningKind.items()}
    kind = names.get(warning.kind, "").removeprefix("TEXT_WARNING_KIND_")
    return warning_words(warning.field, kind, warning.message, warning.count)
