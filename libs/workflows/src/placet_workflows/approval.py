"""`ApprovalWorkflow`: runs one request through its policy. The rules are in `placet_domain`.

Every stimulus (command, timer, AI result) is put into one queue. One coroutine takes the queued stimuli,
appends the events that follow in one batch, and folds the stored entries. A local activity may run twice,
because it runs before its workflow task is durable. So the log decides: entries that it already holds are
folded first, and the stimuli are processed again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from placet_domain import interpreter, stimuli
    from placet_domain.commands import CancelCommand
    from placet_domain.events import Actor, ActorKind, Event, Notified
    from placet_domain.state import ApprovalState, TierAssignment, TierState
    from placet_workflows import activity_calls as calls
    from placet_workflows import activity_inputs as inputs
    from placet_workflows.activity_types import AppendInput, ApprovalInput, Status
    from placet_workflows.append_batch import (
        Stimulus,
        due_events,
        effective_cancellation,
        pause,
        without_unattested,
    )
    from placet_workflows.names import APPROVAL_WORKFLOW
    from placet_workflows.signals import read_signal

# Stimuli processed in one append, which takes 200 events. Most give one; a tier that opens gives some 30
# more, and an outcome two.
BATCH = 40
# Time for which a notice's result waits for another append before it is appended alone.
NOTICE_DELAY = timedelta(seconds=2)


@workflow.defn(name=APPROVAL_WORKFLOW)
class ApprovalWorkflow:
    """Runs one request. The workflow's id is the approval_id."""

    @workflow.init
    def __init__(self, start: ApprovalInput) -> None:
        self._policy = start.policy
        self._start = start
        self._state = start.state or ApprovalState()
        if start.state is None:
            self._state.fold(start.received)
        self._queue: deque[Stimulus] = deque()
        # Commands that wait for the first tier.
        self._early: list[Stimulus] = []
        # Events that wait for the next append.
        self._pending = list(start.pending)
        self._pending_since = workflow.now()
        self._notified = set(start.notified)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._timer_time = workflow.now()
        self._fired: set[str] = set()
        # Why the log refuses the next events; empty while it does not.
        self._refusal = ""
        self._renew_time = workflow.now() + start.renew_after
        if self._state.processed is None:
            self._pending.append(interpreter.processed_event(start.processed, workflow.now()))
        # First in the queue, before commands of the first task; without effect once a tier is open.
        if self._policy.pre_screen is None:
            self._queue.append(stimuli.Begin())
        self._queue.extend(start.commands)

    @workflow.signal(dynamic=True)
    def receive(self, name: str, raws: Sequence[RawValue]) -> None:
        """Enqueues a command; its result is in the log. Any other signal becomes a refusal.

        The handler is dynamic, because with a named one the SDK drops undecodable signals silently, and stops
        the workflow at a signal without a payload or with two.
        """
        self._queue.append(read_signal(name, [raw.payload for raw in raws]))

    @workflow.query(name="get_status")
    def get_status(self) -> Status:
        """The request's status, for operators in Temporal's own UI; other callers use ApprovalService."""
        state = self._state
        return Status(
            workflow_id=workflow.info().workflow_id,
            state=state.state,
            has_decision=state.decided is not None,
            waiting_for_approval=state.waiting_for_approval,
            tier=state.last_tier.tier if state.last_tier else 0,
            paused_reason=self._refusal or (state.paused.reason if state.paused else ""),
            last_number=state.last_number,
            unprocessed_commands=len(self._queue) + len(self._early),
        )

    @workflow.run
    async def run(self, _start: ApprovalInput) -> None:
        """Ends when the outcome is in the log, every command is processed and all are notified of it.

        A cancellation in Temporal is not authenticated here, so it has no effect on the request. The worker's
        log names CancelApproval instead.
        """
        main = asyncio.create_task(self._main(), name="main")
        while not main.done():
            try:
                await asyncio.shield(main)
            except asyncio.CancelledError:
                if workflow.cancellation_reason() is None:
                    raise
                workflow.logger.warning(
                    "a cancellation in Temporal has no effect; call CancelApproval instead"
                )
        main.result()
        if self._state.closed is None:
            self._continue_as_new()

    async def _main(self) -> None:
        """Runs until the request is finished, or may continue as new."""
        self._act()
        while True:
            await workflow.wait_condition(self._has_work)
            self._raise_failures()
            if self._queue:
                await self._process()
                self._act()
            elif self._is_finished() or self._may_renew():
                return

    def _has_work(self) -> bool:
        failed = any(task.done() and task.exception() for task in self._tasks())
        return bool(self._queue) or failed or self._is_finished() or self._may_renew()

    def _is_finished(self) -> bool:
        if self._state.closed is None or self._queue or "outcome" not in self._calls:
            return False
        return all(notice.done() for notice in self._calls.values())

    # Writing.

    async def _process(self) -> None:
        """Takes stimuli from the queue and appends the events that follow, in one batch.

        Entries that the log already holds are folded first, and the same stimuli are processed again, so that
        nothing is caused twice. Events that the log refuses are tried again now and then, until it takes them
        or the request is cancelled. Early commands go last, and those that are still early afterwards wait.
        """
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
        taken.sort(key=self._is_early)
        while batch := self._due_events(taken):
            try:
                if await self._append(batch):
                    break
            except calls.AppendRefused as refused:
                position = refused.unattested - self._state.last_number - 1
                rest = without_unattested(taken, batch, position)
                if rest is None:
                    await self._report_refusal(str(refused))
                    rest = await self._after_refusal(taken)
                taken = rest
        self._refusal = ""
        waiting = [*self._early, *filter(self._is_early, taken)]
        self._early = list(filter(self._is_early, waiting))
        self._queue.extend(one for one in waiting if not self._is_early(one))

    def _is_early(self, stimulus: Stimulus) -> bool:
        return interpreter.is_early(self._policy, self._state, stimulus)

    async def _append(self, batch: tuple[Event, ...]) -> bool:
        """Appends and folds; False if entries that are stored there are folded instead, or if an automatic
        decision was withheld, which the next append says first. Raises AppendRefused."""
        request = AppendInput(
            tenant=self._state.tenant,
            approval_id=self._state.approval_id,
            expected_next=self._state.last_number + 1,
            events=batch,
        )
        result = await calls.append(request)
        if result.withheld is not None:
            self._pending.append(interpreter.withheld_event(result.withheld, workflow.now()))
            return False
        stored = result.stored(request)
        if not stored:
            raise AssertionError(
                "the log neither appended the events nor returned the entries stored in their place"
            )
        for entry in stored:
            self._state.fold(entry)
        return result.appended

    async def _report_refusal(self, reason: str) -> None:
        """Says in the status that the log refuses the next events, and in the log if it takes that."""
        if not self._refusal and self._state.paused is None and self._state.decided is None:
            self._refusal = reason
            try:
                await self._append((pause(reason, workflow.now()),))
            except calls.AppendRefused:
                workflow.logger.error("the log does not take either that the request is paused")
        self._refusal = reason

    async def _after_refusal(self, taken: list[Stimulus]) -> list[Stimulus]:
        """Waits, and returns what to process next: the same, or a cancellation, which then goes before all
        else and without what the log may have refused."""
        try:
            await workflow.wait_condition(
                lambda: self._cancellation(taken) is not None, timeout=calls.REPAIR_INTERVAL
            )
        except TimeoutError:
            return taken
        cancellation = self._cancellation(taken)
        if cancellation is None:
            return taken
        self._pending = []
        self._queue.extendleft(reversed(taken))
        self._queue.remove(cancellation)
        return [cancellation]

    def _cancellation(self, taken: list[Stimulus]) -> CancelCommand | None:
        """A cancellation that may take effect, and was not refused by itself already."""
        found = [*(taken if len(taken) > 1 or self._pending else []), *self._queue]
        return effective_cancellation(found, self._state)

    def _due_events(self, taken: Sequence[Stimulus]) -> tuple[Event, ...]:
        # Not cleared after an append: a notice may have joined while the log was answering.
        self._pending = [event for event in self._pending if not self._state.knows(event)]
        return due_events(self._policy, self._state, self._pending, taken, workflow.now())

    # Calls and a timer, derived from the state alone: a re-run and a continued run start the same ones.

    def _act(self) -> None:
        """Starts the calls that the state needs and that do not run; cancels the others."""
        wanted = self._wanted_calls()
        for name in [name for name in self._calls if name not in wanted]:
            self._calls.pop(name).cancel()
        for name, call in wanted.items():
            if name not in self._calls:
                self._calls[name] = asyncio.create_task(call(), name=name)
        self._set_timer()

    def _wanted_calls(self) -> dict[str, Callable[[], Coroutine[object, object, None]]]:
        state = self._state
        if state.decided is not None:
            return self._closing_calls() if state.closed is not None else {}
        wanted: dict[str, Callable[[], Coroutine[object, object, None]]] = {}
        if state.fell_back is not None:
            if state.ai_decided is None:
                wanted["fallback"] = self._fall_back
        elif self._policy.pre_screen is not None and state.pre_screened is None:
            wanted["pre-screen"] = self._pre_screen
        for tier in state.tiers:
            for assignment in tier.assignments:
                step = f"asked-{assignment.number}"
                if assignment.number not in self._notified and step not in state.notices:
                    wanted[step] = partial(self._notify_assigned, step, tier, assignment)
        return wanted

    def _closing_calls(self) -> dict[str, Callable[[], Coroutine[object, object, None]]]:
        """The notices of the outcome: to the requester, and to those who need not decide any more."""
        recipients = {"outcome": self._state.requester, **inputs.released(self._state)}
        return {step: partial(self._notify_outcome, step, who) for step, who in recipients.items()}

    def _set_timer(self) -> None:
        """Sets one timer, for what is due first. One that fires too early costs less than another one."""
        first = min((due for _, due, _ in self._timeouts()), default=None)
        if first is None:
            return
        if self._timer is not None:
            if self._timer_time <= first:
                return
            self._timer.cancel()
        self._timer_time = first
        self._timer = asyncio.create_task(self._fire_at(first), name="timer")

    def _timeouts(self) -> list[tuple[str, datetime, Stimulus | None]]:
        """The timeouts that did not fire yet: name, time, and the stimulus that each becomes."""
        state = self._state
        found: list[tuple[str, datetime, Stimulus | None]] = []
        if state.decided is not None:
            return found
        tier = state.open_tier
        if tier is not None and tier.due_time is not None:
            # By its time too: a tier may wait longer.
            name = f"tier-{tier.tier} {tier.due_time}"
            found.append((name, tier.due_time, stimuli.TierTimeout(tier.tier)))
        deadline = state.received.deadline_time if state.received is not None else None
        if state.fell_back is None and deadline is not None:
            found.append(("deadline", deadline, stimuli.DeadlinePassed()))
        # A pre-screen ends by itself, and before its end the workflow cannot continue as new.
        if state.tiers or state.fell_back is not None:
            found.append(("renewal", self._renew_time, None))
        notices = [
            event
            for event in self._pending
            if isinstance(event.body, Notified) and not self._state.knows(event)
        ]
        if notices:
            name = f"notices-{notices[0].cause_id}"
            found.append((name, self._pending_since + NOTICE_DELAY, stimuli.PendingNotices()))
        return [timeout for timeout in found if timeout[0] not in self._fired]

    async def _fire_at(self, time: datetime) -> None:
        """Fires everything that is due at `time`, immediately if that is past."""
        remaining = time - workflow.now()
        if remaining > timedelta(0):
            await workflow.sleep(remaining)
        for name, due, stimulus in sorted(self._timeouts(), key=itemgetter(1)):
            if due <= time:
                self._fired.add(name)
                if stimulus is not None:
                    self._queue.append(stimulus)
        self._timer = None
        self._set_timer()

    def _tasks(self) -> list[asyncio.Task[None]]:
        tasks = [*self._calls.values(), *([self._timer] if self._timer else [])]
        return [task for task in tasks if not task.cancelled()]

    def _raise_failures(self) -> None:
        """Raises a call's exception, so that a defect fails the workflow task visibly."""
        for task in self._tasks():
            if task.done():
                task.result()

    # Calls. Each ends by putting its result into the queue or among the pending events.

    async def _pre_screen(self) -> None:
        """Runs the policy's pre-screen."""
        if self._policy.pre_screen is not None:
            result = await calls.pre_screen(self._policy, self._state, self._policy.pre_screen)
            self._queue.append(stimuli.PreScreenDone(result))

    async def _fall_back(self) -> None:
        """Asks the AI to decide. Without an answer in time the request pauses, and the call is repeated."""
        if self._policy.fallback.by != "ai":
            return
        question = inputs.fallback(self._state)
        if self._state.paused is None:
            try:
                answer = await calls.ask_ai(question, self._policy.fallback.time_limit)
                self._queue.append(stimuli.FallbackDone(answer.result))
            except FailureError as error:
                calls.raise_if_cancelled(error)
                self._queue.append(stimuli.FallbackUnavailable())
            else:
                return
        answer = await calls.until_repaired(partial(calls.ask_ai, question, None))
        self._queue.append(stimuli.FallbackDone(answer.result))

    async def _notify_assigned(self, step: str, tier: TierState, assignment: TierAssignment) -> None:
        """Notifies one of the people asked.

        A success is appended with the next events, or alone after NOTICE_DELAY. A failure is appended
        immediately, because somebody may have to act on it.
        """
        result = await calls.notify(inputs.notice_to_assigned(self._state, step, tier, assignment))
        notified = Notified(
            notification_id=result.notification_id,
            delivered=result.delivered,
            channel=result.channel,
            asked_number=assignment.number,
        )
        service = Actor(kind=ActorKind.SERVICE, name="notification")
        self._pending.append(Event(time=workflow.now(), actor=service, cause_id=step, body=notified))
        self._pending_since = workflow.now()
        self._notified.add(assignment.number)
        if result.delivered:
            self._set_timer()
        else:
            self._queue.append(stimuli.PendingNotices())

    async def _notify_outcome(self, step: str, recipient: str) -> None:
        """Notifies somebody of the outcome, which is in the log: the second half of step "finalize"."""
        await calls.notify(inputs.notice_of_outcome(self._state, step, recipient))

    # Continue-as-new.

    def _may_renew(self) -> bool:
        """True if renewal is due and nothing but the timer runs."""
        due = "renewal" in self._fired or workflow.info().is_continue_as_new_suggested()
        idle = all(task.done() for task in self._calls.values())
        return due and idle and not self._queue and self._state.decided is None

    def _continue_as_new(self) -> None:
        workflow.continue_as_new(
            self._start.model_copy(
                update={
                    "state": self._state,
                    "commands": (),
                    "pending": tuple(event for event in self._pending if not self._state.knows(event)),
                    "notified": tuple(sorted(self._notified)),
                }
            )
        )
