"""Jobs that tests run in child processes, which import this module: a test module they could not import."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import NoReturn

from placet_rpc.errors import ResourceExhausted


def hold_the_interpreter(started: Path | None = None) -> None:
    """Takes hours in one call of C, in which no signal handler and no other thread runs."""
    if started is not None:
        # An empty folder: a job writes no files.
        (started / str(os.getpid())).mkdir(parents=True)
    re.match(r"(a|aa)+$", "a" * 100 + "b")


def take_memory() -> int:
    return len(bytearray(1 << 30))


def refuse() -> NoReturn:
    raise ResourceExhausted("too many wait", reason="TENANT_BUSY", metadata={"limit": "1"})


class Unsendable(Exception):
    """Cannot be pickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def refuse_strangely() -> NoReturn:
    raise Unsendable("so", "strange")


def end_without_a_word() -> NoReturn:
    os._exit(3)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
