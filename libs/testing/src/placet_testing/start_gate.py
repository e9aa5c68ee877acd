"""Starts a process only once a gate is open: `python -m placet_testing.start_gate FILE COMMAND…`.

The gate is shut while FILE exists. So a test can keep a process of the stack down for as long as it needs,
although the supervisor starts it again at once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.05


def main() -> None:
    """Waits, then becomes the command."""
    gate, command = Path(sys.argv[1]), sys.argv[2:]
    while gate.exists():
        time.sleep(POLL_SECONDS)
    os.execv(command[0], command)  # noqa: S606 - the command is the supervisor's own


if __name__ == "__main__":
    main()
