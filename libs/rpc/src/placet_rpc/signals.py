"""Signals that ask a process to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(
    handler: Callable[[signal.Signals], object], numbers: tuple[signal.Signals, ...] = STOP_SIGNALS
) -> Iterator[None]:
    """Calls `handler` on the running loop at each stop signal, while its block runs."""
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, handler, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def stop_event() -> Iterator[asyncio.Event]:
    """An event that the first stop signal sets, while its block runs."""
    event = asyncio.Event()
    with stop_signals(lambda _number: event.set()):
        yield event
