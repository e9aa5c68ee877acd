"""The `placet` command, which Ctrl-C ends without a stack trace from the first moment on."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable

from placet_cli.problems import INTERRUPTED


def main() -> None:
    """Runs the command line."""
    # Text that a stream cannot encode or decode is shown in another form: names of files may be any bytes.
    for stream, errors in (
        (sys.stdin, "replace"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    patient = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if patient:
        signal.signal(signal.SIGINT, lambda *_arguments: os._exit(INTERRUPTED))
    # Imported late: it takes a second, in which people press Ctrl-C too.
    from placet_cli.app import run

    if patient:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status = _status_of(run)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # At once: threads of gRPC and Temporal can bring down a Python that is taking itself apart.
    os._exit(status)


def _status_of(run: Callable[[], None]) -> int:
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
