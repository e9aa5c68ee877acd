"""What one stack may not share with another: its home and its ports. Says who holds them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# psutil publishes no types; what is used of it is typed here at once.
import psutil

from placet_cli.home import DEFAULT_PORT_BASE, HOST, Home, Ports, shown, typed
from placet_cli.local_stack import UP
from placet_cli.problems import Problem

PORT_STEP = 100
GONE_SECONDS = 5.0


@dataclass(frozen=True)
class Holder:
    """A process on this machine. `created` tells it from a later one with the same id."""

    pid: int
    created: float
    command: str = field(compare=False)

    @classmethod
    def of(cls, pid: int) -> Holder | None:
        """The process with this id; None when there is none, or it is not ours to see."""
        try:
            process = psutil.Process(pid)
            command = " ".join(process.cmdline()) or process.name()
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time(), command)
        except psutil.Error:
            return None

    def __str__(self) -> str:
        command = self.command if len(self.command) <= 100 else self.command[:99] + "…"
        return f"process {self.pid} ({command})"


@dataclass(frozen=True)
class StackState:
    """What runs on a home, as its supervisor last wrote it down."""

    pid: int
    created: float
    port_base: int
    processes: dict[str, Holder]
    phase: str = UP
    ready: tuple[str, ...] = ()
    parts: int = 0

    @classmethod
    def read(cls, home: Home) -> StackState | None:
        """The state that was written last, by a supervisor that may be gone; None without a readable one."""
        try:
            state = json.loads(home.state.read_text())
            processes = {
                name: Holder(int(entry["pid"]), float(entry["created"]), str(entry["command"]))
                for name, entry in state["processes"].items()
            }
            return cls(
                int(state["pid"]),
                float(state["created"]),
                int(state["port_base"]),
                processes,
                str(state["phase"]),
                tuple(map(str, state["ready"])),
                int(state["parts"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Missing or torn: a supervisor that was killed may leave anything.
            return None

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote it still runs."""
        holder = Holder.of(self.pid)
        return holder is not None and holder.created == self.created


def write_state(
    home: Home,
    port_base: int,
    pids: dict[str, int],
    *,
    phase: str = UP,
    ready: Sequence[str] = (),
    parts: int = 0,
) -> None:
    """Records what runs, in one step."""
    holders = {name: holder for name, pid in pids.items() if (holder := Holder.of(pid)) is not None}
    own = Holder.of(os.getpid())
    state = {
        "pid": os.getpid(),
        "created": 0.0 if own is None else own.created,
        "port_base": port_base,
        "phase": phase,
        "ready": list(ready),
        "parts": parts,
        "processes": {
            name: {"pid": holder.pid, "created": holder.created, "command": holder.command}
            for name, holder in holders.items()
        },
    }
    temporary = home.state.with_suffix(".new")
    temporary.write_text(json.dumps(state, indent=1))
    temporary.replace(home.state)


@contextlib.contextmanager
def claimed(home: Home) -> Iterator[None]:
    """Holds the home's lock, which the kernel gives back however this process ends. Raises Problem."""
    with home.lock.open("a") as lock:
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


def check_ports(home: Home, ports: Ports) -> None:
    """Raises Problem when one of the ports of the home's stack is taken, naming the process that holds it."""
    for name, port in ports.all.items():
        if not port_free(port):
            holder = holder_of_port(port)
            beside = f"placet up --home {typed(home.path)} --port-base {free_base(ports.base)}"
            other = None if holder is None else home_of(holder)
            if holder is not None and other is not None:
                raise Problem(
                    f"the ports from {ports.base} on are taken: another Placet holds them",
                    f"its home is {shown(other)}; port {port}, for {name}, is held by {holder}",
                    tries=(f"stop it there with Ctrl-C, or: {beside}",),
                )
            by = f"by {holder}" if holder is not None else "by a process that is not yours to see"
            stop = f"kill {holder.pid}  (if it is not needed)" if holder else f"sudo lsof -i :{port}"
            raise Problem(
                f"port {port}, for {name}, is taken",
                f"it is held {by}",
                tries=(beside, stop),
            )


def port_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder_of_port(port: int) -> Holder | None:
    """The process that listens on the port; None when it is not ours to see."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return Holder.of(connection.pid)
    return None


def home_of(holder: Holder) -> Path | None:
    """The home of the stack that a process is part of; None when it is part of none, or not ours to see."""
    try:
        home = psutil.Process(holder.pid).environ().get("PLACET_HOME")
    except psutil.Error:
        return None
    # Whoever has set the variable hands it to all that they start; a stack has written down its own.
    state = StackState.read(Home.at(Path(home))) if home else None
    return Path(home) if home and state is not None and holder in state.processes.values() else None


def suspended(pid: int) -> bool:
    """Whether a process is stopped (Ctrl-Z, SIGSTOP): it is there, and does nothing."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def free_base(taken: int) -> int:
    """The next port base whose ports are all free; the default one when none is near."""
    for base in range(taken + PORT_STEP, taken + 20 * PORT_STEP, PORT_STEP):
        if base <= 65_500 and all(port_free(port) for port in Ports(base).all.values()):
            return base
    return DEFAULT_PORT_BASE


def home_taken(home: Home) -> Problem:
    """The error of a start on a home whose lock another stack holds."""
    state = StackState.read(home)
    if state is None or not state.alive:
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
    return next(path for path in names if not _runs(Home.at(path)))


def _runs(home: Home) -> bool:
    state = StackState.read(home)
    return state is not None and state.alive
