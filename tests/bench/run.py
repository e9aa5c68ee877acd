"""`make bench`; `make bench ARGS=--help` teaches what it measures."""

from __future__ import annotations

import sys

from placet_bench.command import main

if __name__ == "__main__":
    sys.exit(main())
