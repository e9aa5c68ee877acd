"""Content by digest: fetched for a tenant, checked, and given as text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import cast

import pytest

from placet.approval.v1 import approval_pb2
from placet.approval.v1 import approval_service_pb2 as pb
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_rpc.content import CheckedContent, fetch_content
from placet_rpc.errors import (
    DataLoss,
    DeadlineExceeded,
    NotFound,
    PlacetError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

APPROVAL = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"


@dataclass
class Approvals:
    """A stub that gives one content, or fails."""

    body: bytes = b"Pay 4,711 EUR"
    media_type: str = "text/plain"
    failure: Exception | None = None
    timeouts: list[float | None] = field(default_factory=list)

    async def GetContent(
        self, request: pb.GetContentRequest, timeout: float | None = None
    ) -> pb.GetContentResponse:
        """Answers whatever digest is asked for."""
        self.timeouts.append(timeout)
        if self.failure is not None:
            raise self.failure
        content = approval_pb2.Content(body=self.body, media_type=self.media_type)
        return pb.GetContentResponse(content=content, text="extracted", title="Payment", requester="ci")


async def fetch(approvals: Approvals, digest: bytes = b"") -> CheckedContent:
    digest = digest or hashlib.sha256(approvals.body).digest()
    stub = cast(ApprovalServiceStub, approvals)
    return await fetch_content(stub, "default", APPROVAL, digest, timeout=3)


async def test_text_is_what_was_signed_and_not_what_was_extracted() -> None:
    found = await fetch(Approvals())
    assert (found.text, found.extracted) == ("Pay 4,711 EUR", False)
    assert (found.title, found.requester) == ("Payment", "ci")


async def test_a_pdf_is_the_text_that_was_extracted() -> None:
    found = await fetch(Approvals(body=b"%PDF-1.7", media_type="application/pdf"))
    assert (found.text, found.extracted) == ("extracted", True)


async def test_a_byte_order_mark_and_bad_bytes_do_no_harm() -> None:
    assert (await fetch(Approvals(body=b"\xef\xbb\xbfPay\xff"))).text == "Pay\ufffd"


async def test_other_content_than_the_digest_names_is_never_given() -> None:
    with pytest.raises(DataLoss) as caught:
        await fetch(Approvals(), hashlib.sha256(b"other").digest())
    assert caught.value.reason == "CONTENT_MISMATCH"


@pytest.mark.parametrize(
    ("failure", "kind", "reason"),
    [
        (Unavailable("away"), Unavailable, "CONTENT_UNAVAILABLE"),
        (DeadlineExceeded("slow"), Unavailable, "CONTENT_UNAVAILABLE"),
        (ResourceExhausted("busy"), Unavailable, "CONTENT_UNAVAILABLE"),
        (NotFound("no such request", reason="UNKNOWN_APPROVAL"), NotFound, "UNKNOWN_CONTENT"),
        (Unauthenticated("no token", reason="TOKEN_EXPIRED"), Unauthenticated, "TOKEN_EXPIRED"),
    ],
)
async def test_an_error_says_whether_a_retry_may_help(
    failure: Exception, kind: type[PlacetError], reason: str
) -> None:
    approvals = Approvals(failure=failure)
    with pytest.raises(kind) as caught:
        await fetch(approvals)
    assert caught.value.reason == reason
    assert approvals.timeouts == [3]
