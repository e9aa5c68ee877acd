"""The embedded stack on this machine, as its supervisor records it for other commands."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from placet_cli.home import Home

# The phases of a stack.
STARTING, UP, STOPPING = "starting", "up", "stopping"


def starting_words(ready: int, parts: int) -> str:
    """The progress of a start."""
    return f"the stack is starting: {ready} of {parts} parts are ready"


@dataclass(frozen=True)
class LocalStack:
    """The last stack of a home: its ports, its phase, how many of its parts are ready."""

    port_base: int
    runs: bool
    """True while its supervisor runs."""
    phase: str
    ready: int
    parts: int

    @property
    def starting(self) -> str:
        """The progress of its start in words; "" when it is not starting."""
        return starting_words(self.ready, self.parts) if self.runs and self.phase == STARTING else ""

    @classmethod
    def read(cls, home: Home) -> LocalStack | None:
        """The stack that was recorded last; None without a readable record."""
        try:
            state = json.loads(home.state.read_text())
            return cls(
                int(state["port_base"]),
                _exists(int(state["pid"])),
                str(state["phase"]),
                len(state["ready"]),
                int(state["parts"]),
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            # Missing or torn: a supervisor that was killed may leave anything.
            return None


def _exists(pid: int) -> bool:
    """True when a process of any user has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
