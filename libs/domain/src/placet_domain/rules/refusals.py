"""Refusals of commands in words."""

from __future__ import annotations

from placet_domain.events import ErrorReason
from placet_domain.policy import clip
from placet_domain.state import ApprovalState

_WORDS = {
    ErrorReason.NOT_ASKED: "Only those who were asked can decide",
    ErrorReason.CONTENT_CHANGED: "The decision names other content than the request's; look again",
    ErrorReason.POLICY_CHANGED: "The decision names another policy than the request's; look again",
    ErrorReason.RENDERING_CHANGED: "The content is not shown as the decision names it; look again",
    ErrorReason.REASON_REQUIRED: "A rejection needs a reason",
    ErrorReason.UNDECODABLE: "The command could not be read",
    ErrorReason.SELF_APPROVAL: "The requester cannot decide the request: four eyes are needed",
    ErrorReason.NOT_REQUESTER: "Only the requester or an operator can cancel the request",
    ErrorReason.NOT_INVOLVED: "Only the requester, those who were asked and operators can comment",
    ErrorReason.TOO_MANY_COMMENTS: "The request has too many comments; no more are taken",
    ErrorReason.COMMENT_EMPTY: "A comment must say something",
    ErrorReason.ALREADY_VOTED: "You have voted already; the tier waits for others",
}


def explain_refusal(state: ApprovalState, reason: ErrorReason) -> str:
    """The refusal in words for its sender."""
    if reason is ErrorReason.CLOSED and state.decided is not None:
        outcome = state.decided
        by = f" by {clip(outcome.approver, 254)}" if outcome.approver else ""
        return f"The request is closed: {outcome.state.lower()}{by}"
    return _WORDS.get(reason, "The command was refused")
