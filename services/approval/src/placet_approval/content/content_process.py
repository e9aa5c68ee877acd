"""`python -m placet_approval.content.content_process TYPE SECONDS MEBIBYTES`: reads a PDF or Markdown.

Reads standard input, writes JSON to standard output: the text of a PDF (null for Markdown, whose text is its
bytes), and the gaps. The kernel enforces the limits. Only `extractor.py` starts it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys

from placet_approval.content.errors import Unreadable
from placet_approval.content.gaps import Gap

# Exit status when the output is not the text, but the reason for which there is none.
REFUSED = 3
# Lower priority than the processes that answer callers.
NICENESS = 10
TOO_MUCH = "takes too much memory to read; send its text instead"


def main() -> int:
    """Writes the text and the gaps and returns 0, or writes the reason and returns REFUSED."""
    _limit(seconds=int(sys.argv[2]), mebibytes=int(sys.argv[3]))
    # Errors of an untrusted content go to its sender, not to the operator's log.
    logging.lastResort = None
    try:
        output, status = json.dumps(_read(sys.argv[1], sys.stdin.buffer.read())), 0
    except Unreadable as error:
        output, status = str(error), REFUSED
    except MemoryError:
        output, status = TOO_MUCH, REFUSED
    sys.stdout.buffer.write(output.encode())
    return status


def _read(media_type: str, body: bytes) -> tuple[str | None, list[Gap]]:
    # Each imports a parser of its own, which takes longer than most contents.
    if media_type == "text/markdown":
        from placet_approval.content.markdown import markdown_gaps

        return None, markdown_gaps(body.decode())
    from placet_approval.content.pdf import read_pdf

    return read_pdf(body)


def _limit(seconds: int, mebibytes: int) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
    for resource_kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(resource_kind, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
