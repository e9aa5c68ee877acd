"""Content of a request, fetched from ApprovalService by digest and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from placet.approval.v1 import approval_pb2
from placet.approval.v1 import approval_service_pb2 as pb
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.event.v1 import event_pb2
from placet_rpc.errors import DataLoss, DeadlineExceeded, NotFound, ResourceExhausted, Unavailable
from placet_rpc.identity import acting_for


@dataclass(frozen=True)
class CheckedContent:
    """Content that matches its digest, as text; `extracted`: the text is not the signed bytes themselves.

    `whole` and `gaps`: what of the content the text holds (ContentCoverage). A gap is the name of its kind,
    the number of its places, and its first page (0: none). `facts`: declared, by name; see `declared_facts`.
    """

    text: str
    extracted: bool
    media_type: str
    title: str
    requester: str
    warnings: Sequence[pb.TextWarning]
    whole: bool
    gaps: Sequence[tuple[str, int, int]]
    facts: Mapping[str, str]


async def fetch_content(
    stub: ApprovalServiceStub, tenant: str, approval_id: str, digest: bytes, *, timeout: float | None = None
) -> CheckedContent:
    """Fetches the content with this SHA-256 in at most `timeout` seconds; None: by the call's deadline.

    Raises Unavailable (CONTENT_UNAVAILABLE), NotFound (UNKNOWN_CONTENT), DataLoss (CONTENT_MISMATCH) and what
    else ApprovalService answers.
    """
    request = pb.GetContentRequest(approval_id=approval_id, content_digest=digest)
    metadata = {"approval_id": approval_id}
    try:
        with acting_for(tenant):
            answer = await stub.GetContent(request, timeout=timeout)
    except (Unavailable, DeadlineExceeded, ResourceExhausted) as error:
        raise Unavailable(
            "ApprovalService did not give the content; try again",
            reason="CONTENT_UNAVAILABLE",
            metadata=metadata,
        ) from error
    except NotFound as error:
        raise NotFound(
            "ApprovalService has no such content for this request",
            reason="UNKNOWN_CONTENT",
            metadata=metadata,
        ) from error
    check_digest(answer, approval_id, digest)
    # The digest covers the bytes, not the text extracted from them: where the bytes are text, use those.
    extracted = answer.content.media_type == "application/pdf"
    return CheckedContent(
        text=answer.text if extracted else _decoded(answer.content.body),
        extracted=extracted,
        media_type=answer.content.media_type,
        title=answer.title,
        requester=answer.requester,
        warnings=answer.warnings,
        whole=answer.coverage.whole,
        gaps=gaps_of(answer.coverage),
        facts=declared_facts(answer.facts),
    )


def declared_facts(facts: approval_pb2.Facts) -> dict[str, str]:
    """The declared facts by name, in the order in which people are shown them: "amount" with its currency."""
    shown = {
        "kind": facts.kind,
        "amount": f"{facts.amount} {facts.currency}" if facts.amount else "",
        "counterparty": facts.counterparty,
        "target": facts.target,
        "environment": facts.environment,
        **dict(sorted(facts.others.items())),
    }
    return {name: value for name, value in shown.items() if value}


def gaps_of(coverage: event_pb2.ContentCoverage) -> list[tuple[str, int, int]]:
    """The gaps: kind, number of places, first page. A kind of a newer service has no name here."""
    names = {number: name.removeprefix("GAP_KIND_") for name, number in event_pb2.GapKind.items()}
    return [(names.get(gap.kind, ""), gap.count, gap.first_page) for gap in coverage.gaps]


def check_digest(answer: pb.GetContentResponse, approval_id: str, digest: bytes) -> None:
    """Raises DataLoss (CONTENT_MISMATCH) unless this is the SHA-256 of the content."""
    if hashlib.sha256(answer.content.body).digest() != digest:
        raise DataLoss(
            "ApprovalService gave other content than the digest names",
            reason="CONTENT_MISMATCH",
            metadata={"approval_id": approval_id},
        )


def _decoded(body: bytes) -> str:
    # A byte order mark at the beginning says only how the text was stored.
    return body.decode("utf-8", errors="replace").removeprefix("\ufeff")
