"""A stack that runs without a terminal: started by one command, stopped by another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

from placet_cli.home import Home, typed
from placet_cli.local_stack import UP
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_devstack.child import last_lines, open_log
from placet_devstack.home_lock import home_taken
from placet_devstack.ports import check_ports
from placet_devstack.process_table import Holder, suspended
from placet_devstack.state import StackState, StartFailure

LOG = "up"
LOOK_EVERY = 0.1
# Each process has a limit of its own, which the supervisor keeps.
STOP_SECONDS = 90.0


async def start_detached(session: Session, *, fast: bool) -> None:
    """Starts a stack in a session of its own and returns when all of it is ready.

    Raises Problem when it ends before that. Ctrl-C meanwhile stops it.
    """
    home = session.home
    if StackState.running(home) is not None:
        raise home_taken(home)
    if not home.path.exists():
        check_ports(home, session.ports)
    home.prepare()
    log = home.log(LOG)
    arguments = [
        "--home",
        str(home.path),
        "--port-base",
        str(session.ports.base),
        *(["--fast"] if fast else []),
    ]
    with open_log(log) as output:
        begin = output.tell()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "placet_cli.main", "up", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while process.returncode is None:
            state = StackState.read(home)
            if state is not None and state.pid == process.pid and state.phase == UP:
                return
            await asyncio.sleep(LOOK_EVERY)
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    failure = StartFailure.read(home)
    if failure is not None and failure.pid == process.pid:
        raise failure.problem
    said = "\n".join(last_lines(log, since=begin))
    raise Problem("the stack did not start", said, tries=(f"less {typed(log)}", "placet doctor"))


async def stop_stack(home: Home) -> bool:
    """Stops the stack of a home and returns whether one ran, when all of it is gone. Raises Problem."""
    state = StackState.running(home)
    if state is None or (holder := Holder.of(state.pid)) is None:
        return False
    if suspended(state.pid):
        what = f"the supervisor, process {state.pid}, is suspended and stops nothing"
        raise Problem(what, tries=(f"kill -CONT {state.pid}",))
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while Holder.of(state.pid) == holder:
        if time.monotonic() > deadline:
            kill = f"kill -9 {state.pid}  (the next `placet up` ends what it leaves)"
            raise Problem(f"the stack, process {state.pid}, does not stop", tries=(kill, "placet doctor"))
        await asyncio.sleep(LOOK_EVERY)
    return True
