"""Runs processes in order of health and keeps them running: the order is what each one `needs`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from placet_cli.local_stack import STARTING, STOPPING, UP
from placet_devstack.child import Process, ProcessSpec, Report


class Supervisor:
    """Starts each process once all that it needs are ready; stops each once all that need it are gone.

    `report` is called with every event; `changed` is called whenever a process id, a readiness or the phase
    changed. Not to be used twice.
    """

    def __init__(
        self, specs: Sequence[ProcessSpec], *, report: Report, changed: Callable[[], None] = lambda: None
    ) -> None:
        """Raises ValueError if a process needs one that comes later or not at all, or that is optional."""
        self._processes: dict[str, Process] = {}
        for spec in specs:
            unknown = [name for name in spec.needs if name not in self._processes]
            if unknown or spec.name in self._processes:
                raise ValueError(f"{spec.name} is listed twice, or before what it needs: {unknown}")
            if optional := [name for name in spec.needs if self._processes[name].spec.optional]:
                raise ValueError(f"{spec.name} needs what is optional: {optional}")
            self._processes[spec.name] = Process(spec, report, changed)
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = changed
        self.phase = STARTING

    @property
    def parts(self) -> int:
        """The number of processes that this stack is made of."""
        return len(self._processes)

    @property
    def ready_parts(self) -> list[str]:
        """The names of the processes that are ready now."""
        return [name for name, process in self._processes.items() if process.ready.is_set()]

    @property
    def pids(self) -> dict[str, int]:
        """The ids of the processes that run now, by name."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    def ready(self, name: str) -> bool:
        """True when a process is ready now."""
        return self._processes[name].ready.is_set()

    async def start(self) -> None:
        """Starts everything and returns when all of it is ready, but for what is optional and died.

        Raises Problem if something never is.
        """
        self._changed()
        self._keepers = [asyncio.create_task(self._keep(process)) for process in self._processes.values()]
        everything = asyncio.create_task(self._all_settled())
        try:
            # A keeper ends before `stop` only by a Problem.
            await asyncio.wait([everything, *self._keepers], return_when=asyncio.FIRST_COMPLETED)
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
        finally:
            everything.cancel()
        self._enter(UP)

    async def stop(self) -> None:
        """Stops everything in reverse order and returns when all of it is gone. Safe to call again."""
        self._enter(STOPPING)
        gone = {name: asyncio.Event() for name in self._processes}

        async def stop_after_dependents(process: Process) -> None:
            for name, other in self._processes.items():
                if process.spec.name in other.spec.needs:
                    await gone[name].wait()
            await process.stop()
            gone[process.spec.name].set()

        await asyncio.gather(*(stop_after_dependents(process) for process in self._processes.values()))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def kill(self) -> None:
        """Kills everything at once."""
        for process in self._processes.values():
            process.kill()

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._changed()

    async def _all_settled(self) -> None:
        for process in self._processes.values():
            await process.settled.wait()

    async def _keep(self, process: Process) -> None:
        for name in process.spec.needs:
            await self._processes[name].ready.wait()
        await process.keep()
