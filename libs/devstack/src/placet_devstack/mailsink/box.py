"""Mails as files: one each, complete or absent, readable by their owner alone."""

import contextlib
import itertools
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

# The envelope: who said MAIL FROM and RCPT TO. Written before the mail's own headers, so it is found first.
_SENDER = "Return-Path"
_RECIPIENTS = "Delivered-To"


@dataclass(frozen=True)
class Mail:
    """A mail as it was taken; `sender` and `recipients` are the envelope's, the rest is the mail's own word.

    `message_id` tells whether two mails are one that was sent twice. `text` is the plain text body.
    """

    path: Path
    received: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    text: str


class MailBox:
    """A folder of at most `capacity` mails; the oldest make room. Written to by one process at a time.

    As in a maildir, a mail is written under `tmp` and appears under `new` by a rename.
    """

    def __init__(self, directory: Path, *, capacity: int = 1000) -> None:
        """Makes the folders (mode 0700) and removes what a crash left unfinished. Raises OSError."""
        self._tmp, self._new = directory / "tmp", directory / "new"
        self._capacity = capacity
        self._serial = itertools.count()
        for folder in (directory, self._tmp, self._new):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in self._tmp.iterdir():
            unfinished.unlink()
        # Oldest first. Looked up once, because a look into a full folder takes longer than taking a mail.
        self._held = deque(_mail_files(self._new))

    def add(self, sender: str, recipients: Sequence[str], mail: bytes) -> Path:
        """Stores a mail, on the disk when this returns. Addresses are ASCII on one line. Raises OSError."""
        name = f"{time.time_ns():020d}.{next(self._serial):06d}.eml"
        envelope = f"{_SENDER}: {sender}\r\n{_RECIPIENTS}: {', '.join(recipients)}\r\n".encode("ascii")
        self._write(self._tmp / name, envelope + mail)
        (self._tmp / name).rename(self._new / name)
        _sync(self._new)
        self._held.append(self._new / name)
        while len(self._held) > self._capacity:
            self._held.popleft().unlink(missing_ok=True)
        return self._new / name

    def _write(self, path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def read_mails(directory: Path) -> list[Mail]:
    """The mails in the folder, newest last; none if there is no such folder."""
    mails = []
    for path in _mail_files(directory / "new"):
        # The sink may be making room at the same time.
        with contextlib.suppress(FileNotFoundError):
            mails.append(_parsed(path, path.read_bytes()))
    return mails


def _mail_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eml"))


def _parsed(path: Path, content: bytes) -> Mail:
    message = message_from_bytes(content, policy=default)
    return Mail(
        path=path,
        received=datetime.fromtimestamp(int(path.name.split(".", 1)[0]) / 1e9, UTC),
        sender=str(message.get(_SENDER, "")),
        recipients=tuple(str(message.get(_RECIPIENTS, "")).split(", ")),
        subject=str(message.get("Subject", "")),
        message_id=str(message.get("Message-ID", "")),
        text=_text(message),
    )


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain",))
    return "" if body is None else str(body.get_content()).replace("\r\n", "\n")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
