"""The content that a mail shows, from ApprovalService."""

from typing import Protocol

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet_notification.domain import Content
from placet_rpc.content import fetch_content
from placet_rpc.errors import PlacetError
from placet_text import coverage_words, warning_words


class ContentUnavailable(Exception):
    """The content cannot be had now, or does not match its digest."""


class ContentSource(Protocol):
    """Source of the content of requests."""

    async def fetch(self, tenant: str, approval_id: str, digest: bytes, *, within: float) -> Content:
        """The content with this SHA-256, in at most `within` seconds. Raises ContentUnavailable."""


class ApprovalContent:
    """Content from ApprovalService. The stub's channel carries this service's own token."""

    def __init__(self, stub: approval_service_pb2_grpc.ApprovalServiceStub) -> None:
        self._stub = stub

    async def fetch(self, tenant: str, approval_id: str, digest: bytes, *, within: float) -> Content:
        """See ContentSource."""
        try:
            found = await fetch_content(self._stub, tenant, approval_id, digest, timeout=within)
        except PlacetError as error:
            raise ContentUnavailable(error.message) from error
        warnings = tuple(_warning(one) for one in found.warnings)
        return Content(
            text=found.text,
            requester=found.requester,
            extracted=found.extracted,
            unread=tuple(coverage_words(whole=found.whole, gaps=found.gaps)),
            warnings=warnings,
            facts=tuple(found.facts.items()),
        )


def _warning(warning: approval_service_pb2.TextWarning) -> str:
    # A kind of a newer service has no name here, and is shown all the same.
    names = {number: name for name, number in approval_service_pb2.TextWarningKind.items()}
    kind = names.get(warning.kind, "").removeprefix("TEXT_WARNING_KIND_")
    return warning_words(warning.field, kind, warning.message, warning.count)
