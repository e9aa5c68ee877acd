"""The mail server of the embedded stack: it keeps every mail in a Maildir and sends none on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import mailbox
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from placet_cli.home import HOST
from placet_rpc.signals import stop_event

MAX_MAIL_BYTES = 1 << 20
CAPACITY = 1000
_IDLE_SECONDS = 60.0
# The envelope's addresses. They stand before the mail's own headers, so that they are found first.
_SENDER, _RECIPIENTS = "Return-Path", "Delivered-To"
# As `mailbox` names a mail: seconds, microseconds, process, counter.
_NAME = re.compile(r"(\d+)\.M(\d+)P\d+Q(\d+)\.")


@dataclass(frozen=True)
class Mail:
    """A mail as it was taken; `sender` and `recipients` are the envelope's, the rest is the mail's own.

    Two mails with the same `message_id` are one that was sent twice. `text` is the plain text body.
    """

    path: Path
    received: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    text: str


class MailSink:
    """Handles the mails of an SMTP server: keeps the newest `capacity` of them in a Maildir."""

    def __init__(self, directory: Path, *, capacity: int = CAPACITY) -> None:
        """Makes the Maildir. Raises OSError."""
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._mails = mailbox.Maildir(directory)
        self._tmp, self._new = directory / "tmp", directory / "new"
        self._capacity = capacity
        self._kept = [path.name for path in _mail_files(self._new)]
        self._drop_unfinished()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (the name that aiosmtpd calls)
        """Answers 250 once the mail is on the disk; of a full disk that it may pass."""
        try:
            self.add(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b"")
        except OSError as error:
            self._drop_unfinished()
            logging.getLogger(__name__).warning("a mail could not be stored: %s", error)
            return "451 Requested action aborted: the mail could not be stored"
        return "250 OK"

    def add(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Stores a mail and drops the oldest beyond the capacity. Raises OSError."""
        headers = f"{_SENDER}: {sender}\r\n{_RECIPIENTS}: {', '.join(recipients)}\r\n"
        self._kept.append(self._mails.add(headers.encode("ascii") + content))
        while len(self._kept) > self._capacity:
            (self._new / self._kept.pop(0)).unlink(missing_ok=True)

    def _drop_unfinished(self) -> None:
        # One mail is stored at a time, so that none of these is under way.
        for path in self._tmp.iterdir():
            path.unlink()

    async def serve(self, port: int) -> asyncio.Server:
        """Listens on a port of the loopback address; 0: a free one. Raises OSError if it is taken."""
        loop = asyncio.get_running_loop()

        def connection() -> SMTP:
            return SMTP(
                self,
                data_size_limit=MAX_MAIL_BYTES,
                hostname="placet-mail-sink",
                ident="Placet mail sink",
                timeout=_IDLE_SECONDS,
                loop=loop,
            )

        return await loop.create_server(connection, HOST, port)


def read_mails(directory: Path) -> list[Mail]:
    """The mails of a Maildir, newest last; none if there is no such folder."""
    mails = []
    for path in _mail_files(directory / "new"):
        # The sink may drop it at the same time.
        with contextlib.suppress(FileNotFoundError):
            mails.append(_parsed(path, path.read_bytes()))
    return mails


def _mail_files(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*") if _NAME.match(path.name)), key=_order)


def _order(path: Path) -> tuple[int, ...]:
    found = _NAME.match(path.name)
    return () if found is None else tuple(map(int, found.groups()))


def _parsed(path: Path, content: bytes) -> Mail:
    message = message_from_bytes(content, policy=default)
    seconds, microseconds, _ = _order(path)
    return Mail(
        path=path,
        received=datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds),
        sender=str(message.get(_SENDER, "")),
        recipients=tuple(str(message.get(_RECIPIENTS, "")).split(", ")),
        subject=str(message.get("Subject", "")),
        message_id=str(message.get("Message-ID", "")),
        text=_text(message),
    )


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain",))
    return "" if body is None else str(body.get_content()).replace("\r\n", "\n")


async def _run(directory: Path, port: int) -> None:
    with stop_event() as stop:
        server = await MailSink(directory).serve(port)
        await stop.wait()
        server.close()


def main() -> None:
    """Runs the sink until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m placet_devstack.mail_sink", description=__doc__)
    parser.add_argument("--port", required=True, type=int, help=f"the port on {HOST}")
    parser.add_argument("--directory", required=True, type=Path, help="the Maildir")
    arguments = parser.parse_args()
    # Mails are for their owner alone.
    os.umask(0o077)
    # aiosmtpd logs each command of each conversation.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    try:
        asyncio.run(_run(arguments.directory, arguments.port))
    except OSError as error:
        sys.exit(f"the mail sink cannot run: {error}")


if __name__ == "__main__":
    main()
