"""`python -m placet_rpc.probe host:port`: health check of a server, for containers.

Speaks TLS where the environment says so to all callers (PLACET_TLS_CA_FILE and its company).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from placet_rpc.client import serving, tls_from_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if the server says SERVING within the time, else 1; 2 for what is given wrongly."""
    parser = argparse.ArgumentParser(prog="placet_rpc.probe", description=__doc__)
    parser.add_argument("address", help="host:port of the server")
    parser.add_argument("--service", default="", help="full name of one service; default: the whole server")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait; default 2")
    asked = parser.parse_args(arguments)
    try:
        tls = tls_from_environment()
    except ValueError as error:
        parser.error(str(error))
    probe = serving(asked.address, asked.service, timeout=asked.timeout, tls=tls)
    return 0 if asyncio.run(probe) else 1


if __name__ == "__main__":
    sys.exit(main())
