"""The long run of random kills: `make chaos`, or ARGS='--decisions 300 --kills 20'."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from placet_testing.stack import running_test_stack
from placet_testing.storm import storm


async def run(decisions: int, kills: int, seed: int) -> int:
    """The exit status: 0 when nothing was lost, doubled or contradicted."""
    with tempfile.TemporaryDirectory(prefix="placet-chaos-") as folder:
        async with running_test_stack(Path(folder)) as stack:
            damage = await storm(stack, decisions=decisions, kills=kills, seed=seed)
    killed = ", ".join(f"{name} {count}" for name, count in sorted(damage.kills.items()))
    sys.stdout.write(f"{damage.decisions} decisions under {damage.kills.total()} kills ({killed})\n")
    sys.stdout.writelines(f"  {fault}\n" for fault in damage.faults)
    sys.stdout.write(f"{len(damage.faults)} lost, doubled or contradictory\n")
    return 1 if damage.faults else 0


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=3000, help="requests taken to their end (3000)")
    parser.add_argument("--kills", type=int, default=200, help="processes killed at least (200)")
    parser.add_argument("--seed", type=int, default=1, help="which storm (1)")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(run(arguments.decisions, arguments.kills, arguments.seed)))


if __name__ == "__main__":
    main()
