"""The ports of a stack: whether they are free, and which process holds one."""

from __future__ import annotations

import socket
from pathlib import Path

# psutil publishes no types; what is used of it is typed here at once.
import psutil

from placet_cli.home import DEFAULT_PORT_BASE, HOST, Home, Ports, shown, typed
from placet_cli.problems import Problem
from placet_devstack.process_table import Holder
from placet_devstack.state import home_of

PORT_STEP = 100


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
    """True when a server could listen on the port now."""
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


def home_at(ports: Ports) -> Path | None:
    """The home of the stack that holds these ports; None when none does, or it is not ours to see."""
    holder = holder_of_port(ports.all["temporal"])
    return None if holder is None else home_of(holder)


def free_base(taken: int) -> int:
    """The next port base whose ports are all free; the default one when none is near."""
    for base in range(taken + PORT_STEP, taken + 20 * PORT_STEP, PORT_STEP):
        if base <= 65_500 and all(port_free(port) for port in Ports(base).all.values()):
            return base
    return DEFAULT_PORT_BASE
