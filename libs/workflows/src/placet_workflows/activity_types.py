"""Messages over Temporal: inputs and results of workflow and activities."""

from __future__ import annotations

from datetime import datetime, timedelta

from placet_domain.commands import Command
from placet_domain.dto import Dto
from placet_domain.events import (
    AiDecided,
    Entry,
    Event,
    LogEntry,
    PreScreened,
    Priority,
    Processed,
    ScreenMode,
    State,
    Withheld,
)
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState


class ApprovalInput(Dto):
    """Input of a request's workflow, at its start and when it continues as new."""

    # The stored `received`: the workflow's state is the fold of the log from there on.
    received: LogEntry
    # Intake's extraction; the workflow appends it with its first events.
    processed: Processed
    # The policy's whole body, so that a pending request keeps its policy.
    policy: Policy
    # Time after which the workflow continues as new, so that old code can retire.
    renew_after: timedelta = timedelta(days=30)
    # Its state when it continues as new or is started again; None at the first start.
    state: ApprovalState | None = None
    # Pending commands at the start of this run: processed before any overdue timer.
    commands: tuple[Command, ...] = ()
    # Events that are due but not stored yet: they go with the next append.
    pending: tuple[Event, ...] = ()
    # The numbers of the `asked` events whose notification is settled.
    notified: tuple[int, ...] = ()


class AppendInput(Dto):
    """Activity `append_events`: compare-and-append, see AuditService.AppendEvents."""

    tenant: str
    approval_id: str
    expected_next: int
    events: tuple[Event, ...]


class AppendResult(Dto):
    """Result of `append_events`: indexes of the appended events, or the entries that are stored there.

    It is kept in the history, so it omits what the workflow knows.
    """

    appended: bool
    indexes: tuple[int, ...] = ()
    entries: tuple[LogEntry, ...] = ()
    # Nothing was appended, because of an automatic decision among the events that is not allowed now.
    withheld: Withheld | None = None

    def stored(self, request: AppendInput) -> tuple[LogEntry, ...]:
        """The entries from `expected_next` on, as the log holds them."""
        if not self.appended:
            return self.entries
        numbers = range(request.expected_next, request.expected_next + len(request.events))
        return tuple(
            LogEntry(
                index=index,
                entry=Entry(
                    tenant=request.tenant, approval_id=request.approval_id, number=number, event=event
                ),
            )
            for index, number, event in zip(self.indexes, numbers, request.events, strict=True)
        )


class AssessInput(Dto):
    """Activity `assess_risk`: see DecisionService.AssessRisk."""

    tenant: str
    approval_id: str
    content_digest: str
    mode: ScreenMode
    priority: Priority
    policy: str
    idempotency_key: str


class AssessResult(Dto):
    """The pre-screen's result, without the policy's threshold and level."""

    result: PreScreened
    # True when a deep assessment would differ from a quick one.
    deep_available: bool = False


class DecideInput(Dto):
    """Activity `decide`: see DecisionService.Decide."""

    tenant: str
    approval_id: str
    content_digest: str
    priority: Priority
    policy: str
    pre_screened: PreScreened | None
    circumstances: str
    idempotency_key: str


class DecideResult(Dto):
    """The AI's fallback result."""

    result: AiDecided


class NotifyInput(Dto):
    """Activity `notify`: see NotificationService.SendNotification."""

    tenant: str
    approval_id: str
    content_digest: str
    idempotency_key: str
    recipient: str
    title: str
    subject_id: str
    reason: str
    # Asked: the tier and its end. An outcome has no tier and a final state.
    tier: int | None = None
    due_time: datetime | None = None
    state: State = State.UNSPECIFIED
    approver: str = ""


class NotifyResult(Dto):
    """Result of a notification; a permanent refusal of the recipient is a result, not an error."""

    notification_id: str
    delivered: bool
    channel: str


class Status(Dto):
    """The answer to the query `get_status`, for operators in Temporal's own UI."""

    workflow_id: str
    state: State
    has_decision: bool
    waiting_for_approval: bool
    tier: int
    paused_reason: str
    last_number: int
    unprocessed_commands: int
