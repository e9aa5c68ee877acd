"""The typed errors of the contract's ErrorReason."""

from __future__ import annotations

from collections.abc import Mapping

from placet.approval.v1 import approval_pb2
from placet_approval.content.warnings import RENDERING
from placet_domain.commands import MOST_COMMANDS
from placet_domain.events import ErrorReason
from placet_domain.policy import clip
from placet_domain.rules.builders import received_of
from placet_domain.state import ApprovalState
from placet_rpc.errors import (
    DataLoss,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PlacetError,
    Unavailable,
)

_KINDS: dict[ErrorReason, type[PlacetError]] = {
    ErrorReason.CLOSED: FailedPrecondition,
    ErrorReason.CONTENT_CHANGED: FailedPrecondition,
    ErrorReason.POLICY_CHANGED: FailedPrecondition,
    ErrorReason.RENDERING_CHANGED: FailedPrecondition,
    ErrorReason.NOT_ASKED: PermissionDenied,
    ErrorReason.SELF_APPROVAL: PermissionDenied,
    ErrorReason.NOT_REQUESTER: PermissionDenied,
    ErrorReason.NOT_INVOLVED: PermissionDenied,
    ErrorReason.ALREADY_VOTED: FailedPrecondition,
    ErrorReason.TOO_MANY_COMMENTS: FailedPrecondition,
}

# Refusals of a field's value.
_FIELDS = {ErrorReason.REASON_REQUIRED: "reason", ErrorReason.COMMENT_EMPTY: "text"}


def refused(reason: ErrorReason, message: str, state: ApprovalState) -> PlacetError:
    """A refusal of a command to a request in this state."""
    field = _FIELDS.get(reason)
    if field is not None:
        violation = FieldViolation(field, message)
        return InvalidArgument(message, reason=reason.value, violations=[violation])
    kind = _KINDS.get(reason, InvalidArgument)
    return kind(message, reason=reason.value, metadata=_metadata(reason, state))


def unknown_approval(approval_id: str) -> NotFound:
    """The request does not exist, or the caller may not see it."""
    return NotFound(
        f"there is no request {approval_id}, or it is not yours to see",
        reason="UNKNOWN_APPROVAL",
        metadata={"approval_id": approval_id},
    )


def not_erasable(reason: str, metadata: Mapping[str, str]) -> FailedPrecondition:
    """AuditService does not erase the request: it is open, or must be kept until a time in `metadata`."""
    if reason == "RETAINED":
        until = metadata.get("until", "").replace("T", " ").replace("Z", " UTC")
        return FailedPrecondition(
            f"the request must be kept until {until}; to erase it before, set before_retention",
            reason="RETAINED",
            metadata=metadata,
        )
    return FailedPrecondition(
        "the request is open; only closed requests can be erased", reason="NOT_CLOSED", metadata=metadata
    )


def erased(approval: approval_pb2.Approval) -> NotFound:
    """The request's content was erased."""
    erasure = approval.erasure
    return NotFound(
        f"the content of request {approval.approval_id} was erased on"
        f" {erasure.erase_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC by {erasure.eraser}: {erasure.reason}",
        reason="ERASED",
        metadata={"approval_id": approval.approval_id, "time": erasure.erase_time.ToJsonString()},
    )


def not_yet_read(log_index: int | None = None, wanted: int = 0) -> Unavailable:
    """The view has read `log_index`, not yet `wanted`. None: it has not caught up since the start."""
    if log_index is None:
        what, metadata = "the view is still being read from the audit log", {}
    else:
        what = "the view has not reached this index yet"
        metadata = {"log_index": str(log_index), "wanted": str(wanted)}
    return Unavailable(f"{what}; send the same call again", reason="NOT_YET_READ", metadata=metadata)


def content_lost(approval_id: str) -> DataLoss:
    """The log has the request, and this service's database has lost its content."""
    return DataLoss(
        f"the content of request {approval_id} is lost: this service's database was lost or restored from an"
        " older copy. Its requester restores it by sending the same request with the same request_id",
        reason="CONTENT_LOST",
        metadata={"approval_id": approval_id},
    )


def _metadata(reason: ErrorReason, state: ApprovalState) -> dict[str, str]:
    match reason:
        case ErrorReason.CLOSED:
            approver = state.decided.approver if state.decided is not None else ""
            return {"state": state.state.value, "approver": clip(approver, 254)}
        case (
            ErrorReason.NOT_ASKED
            | ErrorReason.NOT_REQUESTER
            | ErrorReason.NOT_INVOLVED
            | ErrorReason.ALREADY_VOTED
        ):
            # Strangers get nothing of the request, not even its requester.
            return {"approval_id": state.approval_id}
        case ErrorReason.CONTENT_CHANGED:
            return {"content_digest": received_of(state).content_digest}
        case ErrorReason.POLICY_CHANGED:
            return {"policy_digest": received_of(state).policy_digest}
        case ErrorReason.RENDERING_CHANGED:
            return {"rendering": RENDERING}
        case ErrorReason.SELF_APPROVAL:
            return {"requester": state.requester}
        case ErrorReason.TOO_MANY_COMMENTS:
            return {"limit": str(MOST_COMMANDS)}
        case _:
            return {}
