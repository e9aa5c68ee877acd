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

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from placet_workflows import calls, machine, stimuli
    from placet_workflows.commands import Command
    from placet_workflows.events import (
        Actor,
        ActorKind,
        AiResult,
        Asked,
        Entry,
        Event,
        LogEntry,
        Notified,
        PreScreened,
        ScreenMode,
    )
    from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, TaskQueue
    from placet_workflows.state import ApprovalState
    from placet_workflows.steps import (
        AppendInput,
        AppendResult,
        ApprovalInput,
        AssessInput,
        DecideInput,
        NotifyInput,
        Status,
    )

# Stimuli judged in one append; each gives at most four events, and an append takes 200.
BATCH = 40
# Characters of a notification's reason, by its contract; an AI's explanation can be longer with the policy's.
REASON_LIMIT = 4000


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
        self._queue: deque[stimuli.Stimulus] = deque()
        # Due, but not worth an append of their own: they go with the next one.
        self._unlogged = list(start.unlogged)
        self._notified = set(start.notified)
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._renew = False
        self._renew_time = workflow.now() + start.renew_after
        # First in the queue, before any command that came with the first task.
        if start.state is None:
            self._unlogged.append(machine.processed_event(start.processed, workflow.now()))
            if self._policy.pre_screen is None:
                self._queue.append(stimuli.Begin())

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
        """Ends when the outcome is in the log, every command is judged and the requester is told."""
        self._act()
        while True:
            await workflow.wait_condition(self._has_something_to_do)
            self._raise_what_a_call_raised()
            if self._queue:
                await self._judge()
                self._act()
            elif self._is_finished():
                return
            elif self._may_renew():
                self._continue_as_new()

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
            result = await self._append(batch)
            for stored in result.entries:
                self._state.fold(stored)
            if result.appended:
                return
            if not result.entries:
                raise AssertionError("the log neither appended nor answered what stands in the way")

    def _due(self, taken: list[stimuli.Stimulus]) -> tuple[Event, ...]:
        """The events that follow from `taken`, each judged in the state that the one before it leaves."""
        trial = self._state.copy_for_trial()
        # Not cleared after an append: a notice may have joined while the log was answering.
        self._unlogged = [event for event in self._unlogged if not trial.knows(event)]
        waiting = tuple(self._unlogged)
        for event in waiting:
            _try_on(trial, event)
        due: list[Event] = []
        for stimulus in taken:
            events = machine.respond(self._policy, trial, stimulus, workflow.now())
            for event in events:
                _try_on(trial, event)
            due += events
        return (*waiting, *due) if due else ()

    async def _append(self, events: tuple[Event, ...]) -> AppendResult:
        request = AppendInput(
            tenant=self._state.tenant,
            approval_id=self._state.approval_id,
            expected_next=self._state.last_number + 1,
            events=events,
        )
        return await calls.append(request)

    # What the state calls for: timers and calls. Both are derived from the state alone, so that a re-run
    # and a continued run start the same.

    def _act(self) -> None:
        """Starts what the state calls for and is not under way; stops what it no longer does."""
        timers = self._wanted_timers()
        wanted_calls = self._wanted_calls()
        for running, wanted in ((self._timers, timers.keys()), (self._calls, wanted_calls.keys())):
            for name in [name for name in running if name not in wanted]:
                running.pop(name).cancel()
        for name, (due, ring) in timers.items():
            if name not in self._timers:
                self._timers[name] = asyncio.create_task(_ring_at(due, ring), name=name)
        for name, call in wanted_calls.items():
            if name not in self._calls:
                self._calls[name] = asyncio.create_task(call(), name=name)

    def _wanted_timers(self) -> dict[str, tuple[datetime, Callable[[], None]]]:
        state = self._state
        if state.decided is not None:
            return {}
        timers: dict[str, tuple[datetime, Callable[[], None]]] = {
            "renew": (self._renew_time, self._ask_to_renew)
        }
        if state.fell_back is not None:
            return timers
        opened = state.tier_opened
        if opened is not None and opened.due is not None:
            timeout = stimuli.TierTimeout(opened.tier)
            timers[f"tier-{opened.tier}"] = (opened.due, partial(self._queue.append, timeout))
        if state.received is not None and state.received.deadline is not None:
            passed = partial(self._queue.append, stimuli.DeadlinePassed())
            timers["deadline"] = (state.received.deadline, passed)
        return timers

    def _wanted_calls(self) -> dict[str, Callable[[], Coroutine[object, object, None]]]:
        state = self._state
        if state.decided is not None:
            return {"outcome": self._tell_requester} if state.closed is not None else {}
        wanted: dict[str, Callable[[], Coroutine[object, object, None]]] = {}
        if self._policy.pre_screen is not None and state.pre_screened is None:
            wanted["pre-screen"] = self._pre_screen
        if state.fell_back is not None and state.ai_decided is None:
            wanted["fallback"] = self._fall_back
        for number, asked in state.ask_numbers.items():
            if number not in self._notified:
                wanted[f"asked-{number}"] = partial(self._tell_asked, number, asked)
        return wanted

    def _running_or_failed(self) -> list[asyncio.Task[None]]:
        tasks = [*self._calls.values(), *self._timers.values()]
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
            assessed = await calls.assess_quickly(self._assessment(ScreenMode.QUICK), ends)
            if pre_screen.mode is ScreenMode.DEEP and assessed.deep_available:
                deep = self._assessment(ScreenMode.DEEP)
                assessed = await calls.assess(deep, TaskQueue.OPENAI, ends)
            result = assessed.result
        except FailureError as error:
            calls.raise_if_cancelled(error)
            result = PreScreened(result=AiResult.UNAVAILABLE, mode=pre_screen.mode)
        self._queue.append(stimuli.PreScreenDone(result))

    def _assessment(self, mode: ScreenMode) -> AssessInput:
        received = machine.received_of(self._state)
        return AssessInput(
            tenant=self._state.tenant,
            approval_id=self._state.approval_id,
            content_digest=received.content_digest,
            mode=mode,
            priority=received.priority,
            idempotency_key=f"{self._state.approval_id}/pre-screen/{mode.lower()}",
        )

    async def _fall_back(self) -> None:
        """Asks the AI to decide. When it does not answer in time the request is held, and asked on."""
        if self._policy.fallback.by != "ai":
            return
        if self._state.held is None:
            try:
                answer = await calls.ask_ai(self._question(), self._policy.fallback.time_limit)
                self._queue.append(stimuli.FallbackDone(answer.result))
            except FailureError as error:
                calls.raise_if_cancelled(error)
                self._queue.append(stimuli.FallbackUnavailable())
            else:
                return
        answer = await calls.until_mended(partial(calls.ask_ai, self._question(), None))
        self._queue.append(stimuli.FallbackDone(answer.result))

    def _question(self) -> DecideInput:
        received = machine.received_of(self._state)
        return DecideInput(
            tenant=self._state.tenant,
            approval_id=self._state.approval_id,
            content_digest=received.content_digest,
            priority=received.priority,
            pre_screened=self._state.pre_screened,
            circumstances=self._state.fell_back.reason if self._state.fell_back else "",
            idempotency_key=f"{self._state.approval_id}/fallback",
        )

    async def _tell_asked(self, number: int, asked: Asked) -> None:
        """Tells one of the asked. Nothing waits for it; what became of it goes with the next append."""
        opened = self._state.tier_opened
        request = self._notification(f"asked-{number}", asked.person, asked.reason).model_copy(
            update={"tier": asked.tier, "due": opened.due if opened else None}
        )
        result = await calls.notify(request)
        notified = Notified(
            notification_id=result.notification_id, delivered=result.delivered, channel=result.channel
        )
        service = Actor(kind=ActorKind.SERVICE, name="notification")
        self._unlogged.append(
            Event(time=workflow.now(), actor=service, cause_id=f"asked-{number}", body=notified)
        )
        self._notified.add(number)

    async def _tell_requester(self) -> None:
        """Step "finalize", its second half: the outcome is in the log, now the requester is told."""
        decided = self._state.decided
        if decided is None:
            return
        request = self._notification("outcome", self._state.requester, decided.reasoning).model_copy(
            update={"state": decided.state, "approver": decided.approver}
        )
        await calls.notify(request)

    def _notification(self, step: str, recipient: str, reason: str) -> NotifyInput:
        received = machine.received_of(self._state)
        return NotifyInput(
            tenant=self._state.tenant,
            approval_id=self._state.approval_id,
            content_digest=received.content_digest,
            idempotency_key=f"{self._state.approval_id}/{step}",
            recipient=recipient,
            title=received.title,
            subject_id=received.subject_id,
            reason=reason[:REASON_LIMIT],
        )

    # Going on as new.

    def _ask_to_renew(self) -> None:
        self._renew = True

    def _may_renew(self) -> bool:
        """A request goes on as new only while nothing but timers is under way."""
        due = self._renew or workflow.info().is_continue_as_new_suggested()
        idle = all(task.done() for task in self._calls.values())
        return due and idle and not self._queue and self._state.decided is None

    def _continue_as_new(self) -> None:
        workflow.continue_as_new(
            self._start.model_copy(
                update={
                    "state": self._state,
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


async def _ring_at(due: datetime, ring: Callable[[], None]) -> None:
    """Rings at `due`, or at once when that is past."""
    remaining = due - workflow.now()
    if remaining > timedelta(0):
        await workflow.sleep(remaining)
    ring()


def _decoded(payload: Payload) -> Command | None:
    """The command in a signal's payload; None when it holds none."""
    try:
        command: object = workflow.payload_converter().from_payload(payload, Command)
    except Exception:  # noqa: BLE001 - whatever is wrong with the bytes, the answer is a refusal
        return None
    # Payloads that are not JSON come as what they are, whatever type was asked for.
    return command if isinstance(command, Command) else None
