"""`python -m placet_witness.probe FOLDER`: whether a witness looks and has no alarm, for health checks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from placet_witness.store import read_status


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if all is well, else 1, and then the output says what is not."""
    parser = argparse.ArgumentParser(prog="placet_witness.probe", description=__doc__)
    parser.add_argument("folder", type=Path, help="the witness's folder (PLACET_WITNESS_FOLDER)")
    folder: Path = parser.parse_args(arguments).folder
    status = read_status(folder)
    fault = f"no witness runs on {folder}" if status is None else status.fault(datetime.now(UTC))
    if fault:
        sys.stdout.write(fault + "\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
