"""Commands: the one way in which a person or service acts on a request.

Each kind is one class with its own `refusal` and `apply`; `Command` is their tagged union. Everything else
that handles commands (signal, log, results, rate limits) is the same for all.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, RootModel, model_validator

from placet_domain.dto import Dto
from placet_domain.events import (
    Actor,
    ActorKind,
    Body,
    Commented,
    Decided,
    Entry,
    ErrorReason,
    Event,
    LogEntry,
    Refused,
    Source,
    State,
    Verdict,
    Voted,
)
from placet_domain.policy import Policy
from placet_domain.rules.builders import close, received_of
from placet_domain.rules.decide import resolve
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState

# Bounds of what an event can hold of a command, by the contract. One that exceeds them could be processed but
# never logged, and would block its request; so it counts as undecodable.
_CauseId = Annotated[str, Field(min_length=1, max_length=100)]
_Traceparent = Annotated[str, Field(max_length=55)]
_Text = Annotated[str, Field(max_length=4000)]
_Rendering = Annotated[str, Field(max_length=50)]
# Commands of a request after which it takes no more comments: its whole state goes into one payload.
MOST_COMMANDS = 1000
_SENDERS = (ActorKind.PERSON, ActorKind.SERVICE)
# Refusals that the first tier ends for those whom it asks.
_UNTIL_ASKED = (ErrorReason.NOT_ASKED, ErrorReason.NOT_INVOLVED)


class BaseCommand(Dto):
    """A command with its permanent id. The command handler authenticated its sender."""

    type: str
    id: _CauseId
    actor: Actor
    # W3C trace context of the call that sent it.
    traceparent: _Traceparent = ""
    # The sender acts as an operator, as the command handler checked.
    operator: bool = False

    @model_validator(mode="after")
    def _names_its_sender(self) -> BaseCommand:
        if self.actor.kind not in _SENDERS or not 0 < len(self.actor.name) <= 254:
            raise ValueError("a command comes from a person or a service, by name")
        if len(self.actor.authenticated_by) > 200:
            raise ValueError("authenticated_by has at most 200 characters")
        return self

    def digest(self) -> str:
        """SHA-256, in hex, of the command and its sender: one id with two digests is a conflict.

        Authentication, trace and fields added by the command handler are left out, because a retry may differ
        in them.
        """
        left_out = {"traceparent", "operator", "actor", "rendering_in_force"}
        payload = {**self.model_dump(mode="json", exclude=left_out), "actor": self.actor.name}
        return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()

    def respond(self, policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
        """The events that the command causes, the last one marked; none when it was processed before, or is
        early."""
        if self.id in state.commands or self.is_early(policy, state):
            return []
        reason = self.refusal(state)
        if reason is not None:
            message = explain_refusal(state, reason)
            bodies: list[Body] = [Refused(command=self.type, reason=reason, message=message)]
        else:
            bodies = self.apply(policy, state, now)
        return [
            Event(
                time=now,
                actor=self.actor,
                cause_id=self.id,
                command_digest=self.digest(),
                traceparent=self.traceparent,
                ends_command=number == len(bodies),
                body=body,
            )
            for number, body in enumerate(bodies, 1)
        ]

    def refusal(self, state: ApprovalState) -> ErrorReason | None:
        """The reason for which the command must be refused in this state; None when it may take effect.

        Only people involved in the request get CLOSED, and those whom it names if it closed before anybody
        was asked; for others a closed request is refused as an open one.
        """
        if state.decided is None:
            return None
        named = () if state.tiers or state.received is None else state.received.assignments
        involved = self._is_involved(state) or any(self.actor.name in one.people for one in named)
        return ErrorReason.CLOSED if involved else None

    def is_early(self, policy: Policy, state: ApprovalState) -> bool:
        """Tells whether the command's sender is somebody whom the policy asks, and nobody was asked yet.

        An early command is not refused. It waits for the first tier, or for the end of the request.
        """
        if state.tiers or state.fell_back is not None or state.decided is not None:
            return False
        if state.received is None or self.actor.name not in policy.people(state.received.assignments):
            return False
        return self.refusal(state) in _UNTIL_ASKED

    @abstractmethod
    def apply(self, policy: Policy, state: ApprovalState, now: datetime) -> list[Body]:
        """The bodies of the events that the command causes in a state that does not refuse it."""

    def _is_involved(self, state: ApprovalState) -> bool:
        return self.operator or self.actor.name == state.requester or self.actor.name in state.asked


class DecisionCommand(BaseCommand):
    """A person's decision of a request of kind APPROVAL."""

    type: Literal["decision"] = "decision"
    verdict: Verdict
    # Hex of the SHA-256 of the content that the sender was shown.
    content_digest: str = ""
    # Hex of the SHA-256 of the policy that the sender decided under. Empty: the decision names none.
    policy_digest: str = ""
    # Form in which the content was shown to the sender. Empty: the decision names none.
    rendering: _Rendering = ""
    # Form in force when the command came. Not a constant of this package: a history must replay whatever is
    # in force.
    rendering_in_force: _Rendering = ""
    reason: _Text = ""

    @model_validator(mode="after")
    def _has_a_verdict(self) -> DecisionCommand:
        if self.verdict is Verdict.UNSPECIFIED:
            raise ValueError("a decision approves or rejects")
        return self

    def refusal(self, state: ApprovalState) -> ErrorReason | None:
        """See BaseCommand."""
        return super().refusal(state) or self._refusal_of_sender(state) or self._refusal_of_binding(state)

    def _refusal_of_sender(self, state: ApprovalState) -> ErrorReason | None:
        if self.actor.name == state.requester:
            return ErrorReason.SELF_APPROVAL
        match state.awaited.get(self.actor.name):
            case None:
                return ErrorReason.NOT_ASKED
            case False:
                return ErrorReason.ALREADY_VOTED
            case True:
                return None

    def _refusal_of_binding(self, state: ApprovalState) -> ErrorReason | None:
        if state.received is None or self.content_digest != state.received.content_digest:
            return ErrorReason.CONTENT_CHANGED
        if self.policy_digest not in ("", state.received.policy_digest):
            return ErrorReason.POLICY_CHANGED
        if self.rendering not in ("", self.rendering_in_force):
            return ErrorReason.RENDERING_CHANGED
        if self.verdict is Verdict.REJECT and not self.reason.strip():
            return ErrorReason.REASON_REQUIRED
        return None

    def apply(self, policy: Policy, state: ApprovalState, now: datetime) -> list[Body]:
        """The vote, and the outcome if the votes amount to one."""
        received = received_of(state)
        voted = Voted(
            tier=state.asked[self.actor.name],
            verdict=self.verdict,
            content_digest=self.content_digest,
            reason=self.reason,
            # The request's own, whatever the decision names.
            policy_version=received.policy_version,
            policy_digest=received.policy_digest,
            rendering=self.rendering,
        )
        decided = resolve(policy, self._after(state, voted, now))
        return [voted] if decided is None else [voted, *close(state, decided, now)]

    def _after(self, state: ApprovalState, voted: Voted, now: datetime) -> ApprovalState:
        """The state with the vote in it."""
        after = state.copy_for_trial()
        event = Event(time=now, actor=self.actor, cause_id=self.id, body=voted)
        entry = Entry(
            tenant=state.tenant, approval_id=state.approval_id, number=state.last_number + 1, event=event
        )
        after.fold(LogEntry(index=state.log_index, entry=entry))
        return after


class CancelCommand(BaseCommand):
    """The withdrawal of a request, by its requester or an operator."""

    type: Literal["cancel"] = "cancel"
    reason: _Text = ""

    def refusal(self, state: ApprovalState) -> ErrorReason | None:
        """See BaseCommand."""
        allowed = self.operator or self.actor.name == state.requester
        return super().refusal(state) or (None if allowed else ErrorReason.NOT_REQUESTER)

    def apply(self, policy: Policy, state: ApprovalState, now: datetime) -> list[Body]:
        """The outcome CANCELLED."""
        cancelled = Decided(
            state=State.CANCELLED,
            source=Source.REQUESTER,
            approver=self.actor.name,
            reasoning=self.reason,
        )
        return close(state, cancelled, now)


class CommentCommand(BaseCommand):
    """A comment on an open request, by anybody involved in it. It decides nothing."""

    type: Literal["comment"] = "comment"
    text: _Text = ""

    def refusal(self, state: ApprovalState) -> ErrorReason | None:
        """See BaseCommand."""
        closed = super().refusal(state)
        if closed is not None:
            return closed
        if not self._is_involved(state):
            return ErrorReason.NOT_INVOLVED
        if len(state.commands) >= MOST_COMMANDS:
            return ErrorReason.TOO_MANY_COMMENTS
        return None if self.text.strip() else ErrorReason.COMMENT_EMPTY

    def apply(self, policy: Policy, state: ApprovalState, now: datetime) -> list[Body]:
        """The comment."""
        return [Commented(text=self.text)]


Command = Annotated[DecisionCommand | CancelCommand | CommentCommand, Field(discriminator="type")]


class AnyCommand(RootModel[Command]):
    """Reads a command of any kind from JSON, where a type that can be named is needed."""


def command_from_json(text: str | bytes) -> Command:
    """Decodes a command from JSON. Raises ValueError."""
    return AnyCommand.model_validate_json(text).root
