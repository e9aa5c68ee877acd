"""The `placet` command, which Ctrl-C ends without a stack trace from the first moment on."""

from __future__ import annotations

import os
import signal

# As shells say it of a program that Ctrl-C ended.
INTERRUPTED = 130


def main() -> None:
    """Runs the command line."""
    patient = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if patient:
        signal.signal(signal.SIGINT, lambda *_arguments: os._exit(INTERRUPTED))
    # Imported late: it takes a second, in which people press Ctrl-C too.
    from placet_cli.app import run

    if patient:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
