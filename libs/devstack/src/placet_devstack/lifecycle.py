"""A stack from start to stop, for `placet up`, `placet demo` and tests."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from placet_cli.home import Home, Ports
from placet_cli.problems import Problem
from placet_devstack.alarms import reported_alarms
from placet_devstack.child import ProcessSpec, Report, StackEvent
from placet_devstack.home_lock import claimed, end_leftovers
from placet_devstack.plan import StackOptions, stack
from placet_devstack.ports import check_ports
from placet_devstack.secrets import Tokens, make_keys
from placet_devstack.state import record_failure, write_state
from placet_devstack.supervisor import Supervisor
from placet_rpc.signals import STOP_SIGNALS, stop_signals

# Which processes a stack is made of.
Plan = Callable[[Home, Ports, StackOptions], Sequence[ProcessSpec]]


@dataclass
class Interrupts:
    """Ctrl-C and SIGTERM: the first asks to stop, the next one calls `again`."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    again: Callable[[], None] = lambda: None

    def _on_signal(self, _number: signal.Signals) -> None:
        if self.stop.is_set():
            self.again()
        self.stop.set()

    def caught(self) -> AbstractContextManager[None]:
        """Catches the signals inside."""
        return stop_signals(self._on_signal, (*STOP_SIGNALS, signal.SIGHUP))

    async def or_stop(self, work: asyncio.Task[None]) -> bool:
        """Waits until `work` is done (True) or a stop is asked for (False; the work is cancelled then).

        Raises what the work raised.
        """
        stop = asyncio.create_task(self.stop.wait())
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            work.result()
            return True
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return False


@asynccontextmanager
async def running_stack(
    home: Home,
    ports: Ports,
    options: StackOptions,
    *,
    report: Report,
    interrupts: Interrupts | None = None,
    plan: Plan = stack,
) -> AsyncIterator[Supervisor]:
    """Inside, all of the stack is ready, or a stop was asked for meanwhile; afterwards all of it is gone.

    Raises Problem when the home or a port is taken, or a process does not start. The home then keeps why,
    unless it is another stack that has it.
    """
    if not home.path.exists():
        # Nothing of this home can hold a port, and none is made for a stack that cannot run.
        check_ports(home, ports)
    home.prepare()
    interrupts, start = interrupts or Interrupts(), _Start(report)
    with claimed(home):
        home.start_failure.unlink(missing_ok=True)
        with _recorded(home, ports):
            for name in end_leftovers(home):
                report(StackEvent(name, "killed", "left behind by a stack that was itself killed", bad=True))
            check_ports(home, ports)
            specs = plan(home, ports, options)
            make_keys(home)
            tokens = Tokens(home)
            tokens.write_all()
        supervisor = Supervisor(
            specs,
            report=start.tell,
            changed=lambda: _record_state(home, ports, supervisor, report),
        )
        interrupts.again = supervisor.kill
        async with tokens.renewed(report), reported_alarms(home, ports, report):
            try:
                with _recorded(home, ports), start.watched():
                    await interrupts.or_stop(asyncio.create_task(supervisor.start()))
                yield supervisor
            finally:
                await supervisor.stop()
                home.state.unlink(missing_ok=True)


@contextmanager
def _recorded(home: Home, ports: Ports) -> Iterator[None]:
    """Records a failure of the start, and makes a Problem of a file that cannot be used."""
    try:
        yield
    except OSError as error:
        problem = home.unusable(error)
        record_failure(home, ports.base, problem)
        raise problem from error
    except Problem as problem:
        record_failure(home, ports.base, problem)
        raise


@dataclass
class _Start:
    """Reports a stack's events, only bad ones once the start has failed: its reason comes last."""

    report: Report
    _failed: bool = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The start, which may fail inside."""
        try:
            yield
        except Problem:
            self._failed = True
            raise

    def tell(self, event: StackEvent) -> None:
        """Reports an event."""
        if event.bad or not self._failed:
            self.report(event)


def _record_state(home: Home, ports: Ports, supervisor: Supervisor, report: Report) -> None:
    """Records the running processes for other commands; a full disk must not keep a process down."""
    try:
        write_state(
            home,
            ports.base,
            supervisor.pids,
            phase=supervisor.phase,
            ready=supervisor.ready_parts,
            parts=supervisor.parts,
        )
    except OSError as error:
        report(StackEvent("supervisor", "no record", f"{home.state}: {error.strerror}", bad=True))
