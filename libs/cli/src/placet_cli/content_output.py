"""The content to decide about, as an approver reads it."""

from __future__ import annotations

import sys
from pathlib import Path

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_cli.event_rows import counted
from placet_cli.formatting import unread, warnings
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_text import NUMBERED, lines_of, visible_line


def print_content(
    session: Session,
    approval: approval_pb2.Approval,
    answer: approval_service_pb2.GetContentResponse,
    output: str,
) -> None:
    """Prints a request's content as text, or writes its bytes to `output`; "-" is standard output. Before it
    comes what of it was not read, and what in it may deceive.

    Raises Problem when the bytes cannot be written.
    """
    careful = warnings(answer)
    session.screen.warn([*unread(answer.coverage), *careful])
    if output:
        _write(answer.content.body, output)
        session.screen.aside(f"{counted(len(answer.content.body), 'byte')} of {answer.content.media_type}")
    elif session.json:
        session.screen.json(answer)
    else:
        if answer.content.media_type == "application/pdf":
            session.screen.aside("The text of a PDF; its bytes: --save FILE")
        if careful and session.screen.cuts:
            session.screen.warn([NUMBERED])
        for line in lines_of(answer.text):
            # A terminal is not to be steered by what others wrote.
            session.screen.say(visible_line(line) if session.screen.cuts else line)
    session.screen.aside(f"SHA-256 {approval.content_digest.hex()}")


def _write(body: bytes, output: str) -> None:
    try:
        if output == "-":
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        else:
            Path(output).write_bytes(body)
    except OSError as error:
        raise Problem(f"cannot write {output}", error.strerror or str(error)) from error
