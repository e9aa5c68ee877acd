"""The embedded stack on this machine, as its supervisor records it for other commands."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from placet_cli.home import Home


@dataclass(frozen=True)
class LocalStack:
    """The last stack of a home: its ports, and whether its supervisor still runs."""

    port_base: int
    runs: bool

    @classmethod
    def read(cls, home: Home) -> LocalStack | None:
        """The stack that was recorded last; None without a readable record."""
        try:
            state = json.loads(home.state.read_text())
            return cls(int(state["port_base"]), _exists(int(state["pid"])))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            # Missing or torn: a supervisor that was killed may leave anything.
            return None


def _exists(pid: int) -> bool:
    """Whether there is a process with this id, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
