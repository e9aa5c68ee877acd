"""The lock of a home, which one stack holds at a time."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from placet_cli.home import Home, Ports, shown, typed
from placet_cli.problems import Problem
from placet_devstack.ports import free_base, port_free
from placet_devstack.process_table import Holder
from placet_devstack.state import StackState

GONE_SECONDS = 5.0


@contextlib.contextmanager
def claimed(home: Home) -> Iterator[None]:
    """Holds the home's lock, which the kernel gives back however this process ends. Raises Problem."""
    try:
        opened = home.lock.open("a")
    except OSError as error:
        raise home.unusable(error) from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise home_taken(home) from error
        yield


def end_leftovers(home: Home) -> list[str]:
    """Kills what a supervisor that was itself killed left running on this home; answers their names.

    Waits, bounded, until they are gone and their ports are free again.
    Call with the home claimed. A process is known by its id and its time of creation.
    """
    state = StackState.read(home)
    processes = {} if state is None else state.processes
    left = {name: one for name, one in processes.items() if Holder.of(one.pid) == one}
    for one in left.values():
        # Each process of a stack leads a group of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(one.pid, signal.SIGKILL)
    if state is not None and left:
        _wait_until_gone(list(left.values()), Ports(state.port_base))
    return list(left)


def _wait_until_gone(left: list[Holder], ports: Ports) -> None:
    # A killed process is a zombie while its last threads still hold its sockets.
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        alive = any(Holder.of(one.pid) == one for one in left)
        if not alive and all(port_free(port) for port in ports.all.values()):
            return
        time.sleep(0.02)


def home_taken(home: Home) -> Problem:
    """The error of a start on a home whose lock another stack holds."""
    state = StackState.running(home)
    if state is None:
        return Problem(
            f"a stack is just starting or stopping on {shown(home.path)}",
            tries=("wait a few seconds and try again", "placet doctor"),
        )
    # With its own ports: those that were given to `up` may be others.
    meant = f"--home {typed(home.path)} --port-base {state.port_base}"
    beside = f"--home {_free_home()} --port-base {free_base(state.port_base)}"
    return Problem(
        f"a stack already runs on {shown(home.path)}",
        f"its supervisor is process {state.pid}, its ports begin at {state.port_base}",
        tries=(
            f"placet list {meant}  (it is yours to use as it is)",
            f"placet down {meant}  (stops it)",
            f"placet up {beside}  (a second one beside it)",
        ),
    )


def _free_home() -> Path:
    """The first `.placet-N` here on which no stack runs."""
    names = (Path(f".placet-{number}") for number in itertools.count(2))
    return next(path for path in names if StackState.running(Home.at(path)) is None)
