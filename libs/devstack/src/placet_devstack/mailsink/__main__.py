"""`python -m placet_devstack.mailsink --listen HOST:PORT --directory DIR`: runs until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from placet_devstack.mailsink import MailBox, MailSink, listen_address


async def _serve(host: str, port: int, box: MailBox) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    sink = MailSink(box)
    bound = await sink.start(host, port)
    logging.getLogger("placet.mailsink").info("listening on %s:%d", host, bound)
    await stopping.wait()
    await sink.stop()


def main() -> int:
    """The process's exit status: 0 after a signal, 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m placet_devstack.mailsink", description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port, a loopback address; port 0: any")
    parser.add_argument("--directory", required=True, type=Path, help="where the mails are kept")
    parser.add_argument("--capacity", type=int, default=1000, help="how many are kept (default 1000)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    # aiosmtpd logs each command of each conversation.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    try:
        host, port = listen_address(arguments.listen)
        asyncio.run(_serve(host, port, MailBox(arguments.directory, capacity=arguments.capacity)))
    except (ValueError, OSError) as error:
        logging.getLogger("placet.mailsink").error("cannot start: %s", error)  # noqa: TRY400 - no stack for users
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
