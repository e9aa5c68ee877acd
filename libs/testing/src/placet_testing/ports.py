"""Ports of this machine that are free."""

from __future__ import annotations

import os
import socket


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_base() -> int:
    """A base such that all ports of a stack are free now."""
    for base in range(20_000 + os.getpid() % 500 * 20, 32_000, 20):
        if all(_is_free(base + offset) for offset in range(20)):
            return base
    raise AssertionError("no twenty ports in a row are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
