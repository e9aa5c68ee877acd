"""`python -m placet_approval.content.pdf_process SECONDS MEBIBYTES`: extracts the text of a PDF.

Reads standard input, writes standard output. The kernel enforces the limits. Only `extractor.py` starts it.
"""

from __future__ import annotations

import logging
import os
import resource
import sys

from placet_approval.content.errors import Unreadable
from placet_approval.content.pdf import text_of

# Exit status when the output is not the text, but the reason for which there is none.
REFUSED = 3
# Lower priority than the processes that answer callers.
NICENESS = 10
TOO_MUCH = "takes too much memory to read; send its text instead"


def main() -> int:
    """Writes the text and returns 0, or writes the reason and returns REFUSED."""
    _limit(seconds=int(sys.argv[1]), mebibytes=int(sys.argv[2]))
    # Errors of an untrusted PDF go to its sender, not to the operator's log.
    logging.disable()
    try:
        output, status = text_of(sys.stdin.buffer.read()), 0
    except Unreadable as error:
        output, status = str(error), REFUSED
    except MemoryError:
        output, status = TOO_MUCH, REFUSED
    sys.stdout.buffer.write(output.encode())
    return status


def _limit(seconds: int, mebibytes: int) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
    for resource_kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(resource_kind, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
