"""Tells somebody, in the background, whom authority refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from placet_rpc.identity import Principal

# method ("/placet.approval.v1.ApprovalService/SubmitDecision"), reason ("NOT_ASKED"), who, approval id or "".
OnAccessRefused = Callable[[str, str, Principal, str], Awaitable[None]]

_QUEUED_AT_MOST = 1000
_HOOK_SECONDS = 10.0
_LOG = logging.getLogger("placet.rpc.refusals")


@dataclass(frozen=True)
class _Refusal:
    method: str
    reason: str
    principal: Principal
    approval_id: str


class Refusals:
    """Hands refusals to a hook, one after the other. Never delays or fails the call that was refused."""

    def __init__(self, hook: OnAccessRefused | None) -> None:
        """Without a hook, refusals are only counted in the log of requests."""
        self._hook = hook
        self._queue: asyncio.Queue[_Refusal] = asyncio.Queue(_QUEUED_AT_MOST)
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def start(self) -> None:
        """Begins to hand over."""
        if self._hook is not None:
            # An empty context: what the hook does belongs to no call's trace, tenant or deadline.
            self._task = asyncio.create_task(self._hand_over(self._hook), context=Context())

    def report(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Queues a refusal; when the queue is full it is dropped, and the log says so."""
        if self._task is None:
            return
        try:
            self._queue.put_nowait(_Refusal(method, reason, principal, approval_id))
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped.bit_count() == 1:  # at 1, 2, 4, 8, …: a flood must not flood the log
                _LOG.error("%d refusals of authority could not be recorded: the queue is full", self._dropped)

    async def stop(self, seconds: float) -> None:
        """Hands over what is queued, for at most `seconds`, then ends."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._queue.join()
        if not self._queue.empty():
            _LOG.error("%d refusals of authority could not be recorded before the stop", self._queue.qsize())
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _hand_over(self, hook: OnAccessRefused) -> None:
        while True:
            refusal = await self._queue.get()
            try:
                async with asyncio.timeout(_HOOK_SECONDS):
                    await hook(refusal.method, refusal.reason, refusal.principal, refusal.approval_id)
            except Exception:  # noqa: BLE001 (the hook is the service's; the next refusal must still be told)
                _LOG.exception("a refusal of authority could not be recorded: %s", refusal)
            finally:
                self._queue.task_done()
