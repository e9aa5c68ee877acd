"""`python -m placet_approval.content.pdf_process SECONDS MEBIBYTES`: reads the PDF on standard input, within
limits that the kernel keeps, and writes its text. Started by `extractor.py` alone."""

from __future__ import annotations

import logging
import os
import resource
import sys

from placet_approval.content.errors import Unreadable
from placet_approval.content.pdf import text_of

# The exit status when what is written is not the text, but why there is none.
REFUSED = 3
# Behind those that answer callers.
NICENESS = 10
TOO_MUCH = "takes too much memory to read; send its text instead"


def main() -> int:
    """0: the text was written; REFUSED: the reason why not. The kernel's signal when it took too long."""
    _limit(seconds=int(sys.argv[1]), mebibytes=int(sys.argv[2]))
    # What a stranger's PDF provokes is told to its sender, not to the operator.
    logging.disable()
    try:
        said, status = text_of(sys.stdin.buffer.read()), 0
    except Unreadable as error:
        said, status = str(error), REFUSED
    except MemoryError:
        said, status = TOO_MUCH, REFUSED
    sys.stdout.buffer.write(said.encode())
    return status


def _limit(seconds: int, mebibytes: int) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
    for nothing in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(nothing, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
