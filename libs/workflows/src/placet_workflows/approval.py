"""`ApprovalWorkflow`: runs one request through its policy. The rules are in `machine`; this file waits,
appends and calls.

One coroutine writes. Whatever happens (a command, a timer, an AI's answer) is put into one queue; the main
coroutine takes everything that is due, appends the events that follow from it in one batch, and folds what
the log answers. A local activity may run twice (it runs before its workflow task is durable), so the log
decides: what it already holds is folded first, and the stimuli are looked at again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from placet_domain import machine, stimuli
    from placet_domain.commands import Command
    from placet_domain.events import (
        Actor,
        ActorKind,
        AiResult,
        Entry,
        Event,
        LogEntry,
        Notified,
        PreScreened,
        ScreenMode,
    )
    from placet_domain.state import ApprovalState, Ask
    from placet_workflows import activity_calls as calls
    from placet_workflows import activity_inputs as questions
    from placet_workflows.activity_types import (
        AppendInput,
        ApprovalInput,
        Status,
    )
    from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, TaskQueue

# Stimuli judged in one append; each gives at most four events, and an append takes 200.
BATCH = 40


@workflow.defn(name=APPROVAL_WORKFLOW)
class ApprovalWorkflow:
    """One request. Its id is the approval's id."""

    @workflow.init
    def __init__(self, start: ApprovalInput) -> None:
        self._policy = start.policy
        self._start = start
        self._state = start.state or ApprovalState()
        if start.state is None:
            self._state.fold(start.received)
        self._queue: deque[stimuli.Stimulus | stimuli.Unlogged] = deque()
        # Due, but not worth an append of their own: they go with the next one.
        self._unlogged = list(start.unlogged)
        self._notified = set(start.notified)
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_time = workflow.now()
        self._rung: set[str] = set()
        self._renew_time = workflow.now() + start.renew_after
        if self._state.processed is None:
            self._unlogged.append(machine.processed_event(start.processed, workflow.now()))
        # First in the queue, before any command that came with the first task; stale where a tier is open.
        if self._policy.pre_screen is None:
            self._queue.append(stimuli.Begin())
        self._queue.extend(start.commands)

    @workflow.signal(dynamic=True)
    def receive(self, name: str, raws: Sequence[RawValue]) -> None:
        """Takes a command in; what becomes of it is in the log. Whatever else is signalled becomes a
        refusal: by name the SDK would drop silently what it cannot decode, and stop the workflow at a
        signal with no payload or with two."""
        payloads = [raw.payload for raw in raws]
        command = _decoded(payloads[0]) if name == COMMAND_SIGNAL and len(payloads) == 1 else None
        if command is None:
            digest = hashlib.sha256(b"".join(payload.data for payload in payloads)).hexdigest()
            self._queue.append(stimuli.Undecodable(cause_id=f"undecodable-{digest[:32]}", digest=digest))
        else:
            self._queue.append(command)

    @workflow.query(name="get_status")
    def get_status(self) -> Status:
        """For operators in Temporal's own UI; everybody else reads ApprovalService."""
        state = self._state
        return Status(
            workflow_id=workflow.info().workflow_id,
            state=state.state,
            has_decision=state.decided is not None,
            waiting_for_approval=state.waiting_for_approval,
            tier=state.tier,
            held=state.held.reason if state.held else "",
            last_number=state.last_number,
            unjudged_commands=len(self._queue),
        )

    @workflow.run
    async def run(self, _start: ApprovalInput) -> None:
        """Ends when the outcome is in the log, every command is judged and the requester is told.

        Who cancels the workflow in Temporal is nobody that was authenticated here, so it decides nothing:
        the request goes on, and whoever asked is told the way that counts.
        """
        life = asyncio.create_task(self._live(), name="life")
        while not life.done():
            try:
                await asyncio.shield(life)
            except asyncio.CancelledError:
                if workflow.cancellation_reason() is None:
                    raise
                workflow.logger.warning("cancelled in Temporal, which decides nothing; call CancelApproval")
        life.result()
        if self._state.closed is None:
            self._continue_as_new()

    async def _live(self) -> None:
        """Until the request is finished, or may go on as new."""
        self._act()
        while True:
            await workflow.wait_condition(self._has_something_to_do)
            self._raise_what_a_call_raised()
            if self._queue:
                await self._judge()
                self._act()
            elif self._is_finished() or self._may_renew():
                return

    def _has_something_to_do(self) -> bool:
        failed = any(task.done() and task.exception() for task in self._running_or_failed())
        return bool(self._queue) or failed or self._is_finished() or self._may_renew()

    def _is_finished(self) -> bool:
        told = self._calls.get("outcome")
        return self._state.closed is not None and told is not None and told.done() and not self._queue

    # Writing.

    async def _judge(self) -> None:
        """Takes what is queued and appends what follows, in one batch. What the log already holds is
        folded first, and the same stimuli are looked at again: nothing is caused twice."""
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
        while batch := self._due(taken):
            request = AppendInput(
                tenant=self._state.tenant,
                approval_id=self._state.approval_id,
                expected_next=self._state.last_number + 1,
                events=batch,
            )
            result = await calls.append(request)
            stored = result.stored(request)
            for entry in stored:
                self._state.fold(entry)
            if result.appended:
                return
            if not stored:
                raise AssertionError("the log neither appended nor answered what stands in the way")

    def _due(self, taken: Sequence[stimuli.Stimulus | stimuli.Unlogged]) -> tuple[Event, ...]:
        """The events that follow from `taken`, each judged in the state that the one before it leaves."""
        trial = self._state.copy_for_trial()
        # Not cleared after an append: a notice may have joined while the log was answering.
        self._unlogged = [event for event in self._unlogged if not trial.knows(event)]
        waiting = tuple(self._unlogged)
        for event in waiting:
            _try_on(trial, event)
        due: list[Event] = []
        for stimulus in taken:
            if isinstance(stimulus, stimuli.Unlogged):
                continue
            events = machine.respond(self._policy, trial, stimulus, workflow.now())
            for event in events:
                _try_on(trial, event)
            due += events
        return (*waiting, *due) if due or stimuli.Unlogged() in taken else ()

    # What the state calls for: calls and an alarm. Both are derived from the state alone, so that a re-run
    # and a continued run start the same.

    def _act(self) -> None:
        """Starts what the state calls for and is not under way; stops what it no longer does."""
        wanted = self._wanted_calls()
        for name in [name for name in self._calls if name not in wanted]:
            self._calls.pop(name).cancel()
        for name, call in wanted.items():
            if name not in self._calls:
                self._calls[name] = asyncio.create_task(call(), name=name)
        self._set_alarm()

    def _wanted_calls(self) -> dict[str, Callable[[], Coroutine[object, object, None]]]:
        state = self._state
        if state.decided is not None:
            return {"outcome": self._tell_requester} if state.closed is not None else {}
        wanted: dict[str, Callable[[], Coroutine[object, object, None]]] = {}
        if state.fell_back is not None:
            if state.ai_decided is None:
                wanted["fallback"] = self._fall_back
        elif self._policy.pre_screen is not None and state.pre_screened is None:
            wanted["pre-screen"] = self._pre_screen
        for number, ask in state.asks.items():
            step = f"asked-{number}"
            if number not in self._notified and step not in state.notices:
                wanted[step] = partial(self._tell_asked, number, step, ask)
        return wanted

    def _set_alarm(self) -> None:
        """One timer, for what is due first. One that rings too early costs less than another one."""
        first = min((due for _, due, _ in self._dues()), default=None)
        if first is None:
            return
        if self._alarm is not None:
            if self._alarm_time <= first:
                return
            self._alarm.cancel()
        self._alarm_time = first
        self._alarm = asyncio.create_task(self._ring_at(first), name="alarm")

    def _dues(self) -> list[tuple[str, datetime, stimuli.Stimulus | None]]:
        """What comes by the clock and has not come yet: its name, its time, what it is to the machine."""
        state = self._state
        dues: list[tuple[str, datetime, stimuli.Stimulus | None]] = []
        if state.decided is not None:
            return dues
        if state.fell_back is None:
            opened = state.tier_opened
            if opened is not None and opened.due is not None:
                dues.append((f"tier-{opened.tier}", opened.due, stimuli.TierTimeout(opened.tier)))
            if state.received is not None and state.received.deadline is not None:
                dues.append(("deadline", state.received.deadline, stimuli.DeadlinePassed()))
        # A pre-screen ends by itself, and before that nothing could go on as new.
        if state.tier or state.fell_back is not None:
            dues.append(("renewal", self._renew_time, None))
        return [due for due in dues if due[0] not in self._rung]

    async def _ring_at(self, time: datetime) -> None:
        """Rings at `time`, or at once when that is past, for all that is due then."""
        remaining = time - workflow.now()
        if remaining > timedelta(0):
            await workflow.sleep(remaining)
        for name, due, stimulus in sorted(self._dues(), key=itemgetter(1)):
            if due <= time:
                self._rung.add(name)
                if stimulus is not None:
                    self._queue.append(stimulus)
        self._alarm = None
        self._set_alarm()

    def _running_or_failed(self) -> list[asyncio.Task[None]]:
        tasks = [*self._calls.values(), *([self._alarm] if self._alarm else [])]
        return [task for task in tasks if not task.cancelled()]

    def _raise_what_a_call_raised(self) -> None:
        """A mistake in our own code fails the workflow task, visibly, and is retried with mended code."""
        for task in self._running_or_failed():
            if task.done():
                task.result()

    # Calls. Each ends by putting its result into the queue, or by noting it.

    async def _pre_screen(self) -> None:
        """Quick first; then deep, where the policy wants it and a model is there. Two minutes in all."""
        pre_screen = self._policy.pre_screen
        if pre_screen is None:
            return
        ends = workflow.now() + pre_screen.time_limit
        try:
            quick = questions.assessment(self._state, ScreenMode.QUICK)
            assessed = await calls.assess_quickly(quick, ends)
            if pre_screen.mode is ScreenMode.DEEP and assessed.deep_available:
                deep = questions.assessment(self._state, ScreenMode.DEEP)
                assessed = await calls.assess(deep, TaskQueue.OPENAI, ends)
            result = assessed.result
        except FailureError as error:
            calls.raise_if_cancelled(error)
            result = PreScreened(result=AiResult.UNAVAILABLE, mode=pre_screen.mode)
        self._queue.append(stimuli.PreScreenDone(result))

    async def _fall_back(self) -> None:
        """Asks the AI to decide. When it does not answer in time the request is held, and asked on."""
        if self._policy.fallback.by != "ai":
            return
        question = questions.fallback(self._state)
        if self._state.held is None:
            try:
                answer = await calls.ask_ai(question, self._policy.fallback.time_limit)
                self._queue.append(stimuli.FallbackDone(answer.result))
            except FailureError as error:
                calls.raise_if_cancelled(error)
                self._queue.append(stimuli.FallbackUnavailable())
            else:
                return
        answer = await calls.until_mended(partial(calls.ask_ai, question, None))
        self._queue.append(stimuli.FallbackDone(answer.result))

    async def _tell_asked(self, number: int, step: str, ask: Ask) -> None:
        """Tells one of the asked. That it worked goes with the next append; that nobody can be told so is
        logged at once, for somebody may have to act on it."""
        result = await calls.notify(questions.notice_to_asked(self._state, step, ask))
        notified = Notified(
            notification_id=result.notification_id, delivered=result.delivered, channel=result.channel
        )
        service = Actor(kind=ActorKind.SERVICE, name="notification")
        self._unlogged.append(Event(time=workflow.now(), actor=service, cause_id=step, body=notified))
        self._notified.add(number)
        if not result.delivered:
            self._queue.append(stimuli.Unlogged())

    async def _tell_requester(self) -> None:
        """Step "finalize", its second half: the outcome is in the log, now the requester is told."""
        await calls.notify(questions.notice_of_outcome(self._state))

    # Going on as new.

    def _may_renew(self) -> bool:
        """A request goes on as new only while nothing but the alarm is under way."""
        due = "renewal" in self._rung or workflow.info().is_continue_as_new_suggested()
        idle = all(task.done() for task in self._calls.values())
        return due and idle and not self._queue and self._state.decided is None

    def _continue_as_new(self) -> None:
        workflow.continue_as_new(
            self._start.model_copy(
                update={
                    "state": self._state,
                    "commands": (),
                    "unlogged": tuple(event for event in self._unlogged if not self._state.knows(event)),
                    "notified": tuple(sorted(self._notified)),
                }
            )
        )


def _try_on(trial: ApprovalState, event: Event) -> None:
    entry = Entry(
        tenant=trial.tenant, approval_id=trial.approval_id, number=trial.last_number + 1, event=event
    )
    trial.fold(LogEntry(index=trial.log_index, entry=entry))


def _decoded(payload: Payload) -> Command | None:
    """The command in a signal's payload; None when it holds none."""
    try:
        command: object = workflow.payload_converter().from_payload(payload, Command)
    except Exception:  # noqa: BLE001 - whatever is wrong with the bytes, the answer is a refusal
        return None
    # Payloads that are not JSON come as what they are, whatever type was asked for.
    return command if isinstance(command, Command) else None
