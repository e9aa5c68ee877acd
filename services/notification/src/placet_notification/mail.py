"""Composition of mails. Pure: the same notification and content give the same bytes, whenever they are sent.

Title, reason, subject id and content come from callers. They stay on one line or behind a quote mark, where
they cannot pass for Placet's own words, headers or commands.
"""

import binascii
import shlex
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime
from functools import lru_cache

from placet_notification.domain import Content, Kind, Notification, Payload, State
from placet_text import CAREFUL, NUMBERED, lines_of, one_line, visible_line

WIDTH = 72
EXCERPT_LINES = 20
_LABEL = 12
# RFC 5322, 2.1.1: the soft and the hard limit of a line, without its end.
_HEADER_LINE = 78
_MAX_UNENCODED_LINE = 998

_DONE = {
    State.APPROVED: "Approved",
    State.REJECTED: "Rejected",
    State.CANCELLED: "Cancelled",
    State.ANSWERED: "Answered",
}


def compose(notification: Notification, *, sender: str, content: Content | None) -> bytes:
    """Composes the mail for a notification to an e-mail address, in wire format: ASCII, with CRLF.

    `content` is required when somebody is asked. Message-ID and Date come from the notification, so a mail
    that is sent twice is recognisable. The header is formatted here: every value has a known format, and
    `email.message` takes two milliseconds to find that out.
    """
    payload = notification.payload
    body = _body(payload, content)
    encoding, encoded = _transfer_encoded(body)
    domain = address(sender).domain
    head = (
        f"From: Placet <{address(sender).addr_spec}>",
        f"To: {address(payload.recipient).addr_spec}",
        _header("Subject", _subject(payload)),
        f"Date: {format_datetime(notification.create_time)}",
        f"Message-ID: <{notification.id}@{domain}>",
        *_thread(payload, domain),
        "Auto-Submitted: auto-generated",  # RFC 3834: no out-of-office answers, please
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        f"Content-Transfer-Encoding: {encoding}",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + encoded


def _thread(payload: Payload, domain: str) -> list[str]:
    """All mails of one request form one thread; its root is a mail that was never sent."""
    if not payload.approval_id:
        return []
    return [
        f"References: <{payload.approval_id}@{domain}>",
        f"X-Placet-Approval-Id: {payload.approval_id}",
    ]


@lru_cache(maxsize=1000)
def address(text: str) -> Address:
    """Splits an address, so that no part of it is parsed as mail syntax."""
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


def _header(name: str, text: str) -> str:
    """Formats a header field: folded, and encoded (RFC 2047) where the text is not plain."""
    if not text.isascii() or "=?" in text:
        # Also text that only looks encoded: its reader would decode it.
        encoded = Header(text, "utf-8", maxlinelen=_HEADER_LINE - 2, header_name=name).encode(linesep="\r\n")
        return f"{name}: {encoded}"
    field = f"{name}: {text}"
    if len(field) <= _HEADER_LINE:
        return field
    folded = textwrap.wrap(
        field, _HEADER_LINE, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False
    )
    return "\r\n".join(folded)


def _transfer_encoded(body: str) -> tuple[str, bytes]:
    """The transfer encoding, and the body in it, with CRLF.

    Never 8bit: a server on the way that does not take it refuses the mail for good.
    """
    raw = body.replace("\n", "\r\n").encode()
    if body.isascii() and all(len(line) <= _MAX_UNENCODED_LINE for line in body.splitlines()):
        return "7bit", raw
    return "quoted-printable", binascii.b2a_qp(raw, istext=True)


def _subject(payload: Payload) -> str:
    title = one_line(payload.title) or payload.approval_id
    if payload.kind is Kind.ASKED:
        return f"Decision needed: {title}"
    if payload.kind is Kind.ALARM:
        return f"Placet: {title}"
    return f"{_DONE[_final(payload)]}: {title}"


def _body(payload: Payload, content: Content | None) -> str:
    if payload.kind is Kind.ASKED:
        return _asked(payload, content)
    return _alarm(payload) if payload.kind is Kind.ALARM else _outcome(payload)


def _alarm(payload: Payload) -> str:
    parts = [_filled(f"{one_line(payload.title)}."), _filled(one_line(payload.reason))]
    return "\n\n".join([*parts, "To see the numbers:", "placet stats"]) + "\n"


def _asked(payload: Payload, content: Content | None) -> str:
    if content is None:
        raise ValueError("a mail that asks for a decision needs the content")
    who = shlex.quote(payload.recipient)
    parts = [
        *_unread(content),
        _filled(f"{one_line(content.requester)} asks for your decision on:"),
        _indented(payload.title),
        _facts(payload, why="Why you", until=_until(payload.due)),
        *_declared(content),
        *_warned(content),
        _excerpt(content),
        "To see the whole request:",
        f"placet show {payload.approval_id} --content --as {who}",
        "To approve:",
        f"placet decide {payload.approval_id} approve --as {who}",
        "To reject:",
        f'placet decide {payload.approval_id} reject --reason "…" --as {who}',
    ]
    return "\n\n".join(parts) + "\n"


def _outcome(payload: Payload) -> str:
    by = one_line(payload.approver)
    verb = f"was {_final(payload).lower()}" + (f" by {by}" if by else "")
    parts = [
        _filled(f'"{one_line(payload.title)}" {verb}.'),
        _facts(payload, why="Reason", until=""),
        "To see its history:",
        f"placet show {payload.approval_id}",
    ]
    return "\n\n".join(parts) + "\n"


def _final(payload: Payload) -> State:
    if payload.state is None:
        raise ValueError("an outcome has a final state")
    return payload.state


def _facts(payload: Payload, *, why: str, until: str) -> str:
    facts = [
        ("Subject", payload.subject_id),
        (why, payload.reason),
        ("Until", until),
        ("Request", payload.approval_id),
        ("Content", "SHA-256"),
    ]
    lines = [_fact(label, value) for label, value in facts if value]
    return "\n".join([*lines, payload.content_digest.hex()])


def _fact(label: str, value: str) -> str:
    return _filled(one_line(value), first=f"{label}:".ljust(_LABEL), other=" " * _LABEL)


def _until(due: datetime | None) -> str:
    return "no time limit" if due is None else f"{due.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _indented(text: str) -> str:
    return _filled(one_line(text), first="    ", other="    ")


def _filled(text: str, *, first: str = "", other: str = "") -> str:
    """Wraps text with single spaces at WIDTH."""
    if text and len(first) + len(text) <= WIDTH:
        return first + text
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=other, break_on_hyphens=False)


def _unread(content: Content) -> list[str]:
    """The unread parts of the content, before anything else."""
    if not content.unread:
        return []
    heading, *sentences = content.unread
    return [_filled(heading), _listed(sentences)]


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(_filled(one_line(sentence), first="- ", other="  ") for sentence in sentences)


def _declared(content: Content) -> list[str]:
    """The facts that the requester declares, which nobody has confirmed."""
    if not content.facts:
        return []
    width = max(len(name) for name, _ in content.facts) + 2
    lines = [
        _filled(one_line(value), first=f"{name}:".ljust(width), other=" " * width)
        for name, value in content.facts
    ]
    return ["\n".join([_filled("Declared by the requester:"), *lines])]


def _warned(content: Content) -> list[str]:
    """The warnings, placed before the text that they are about."""
    if not content.warnings:
        return []
    return [_filled(CAREFUL), _listed(content.warnings), _filled(NUMBERED)]


def _excerpt(content: Content) -> str:
    lines = lines_of(content.text)
    quoted: list[str] = []
    rows = 0
    for line in lines:
        # A line is not wrapped, however long: half a line of a diff means something else.
        text = f"> {visible_line(line)}".rstrip()
        rows += 1 + len(text) // WIDTH
        if rows > EXCERPT_LINES:
            break
        quoted.append(text)
    shown = len(quoted)
    if shown == 0 and lines:
        # One line longer than the whole excerpt.
        quoted = [text[: EXCERPT_LINES * WIDTH - 1] + "…"]
    if not lines:
        return "No text could be read from the content."
    notice = _excerpt_notice(shown, len(lines), content.extracted, whole=not content.unread)
    return "\n".join([notice, "", *quoted])


@lru_cache(maxsize=1000)
def _excerpt_notice(shown: int, total: int, extracted: bool, *, whole: bool) -> str:
    if shown == total:
        what, verb = "The whole content" if whole else "All that was read of the content", "is"
    elif shown == 0:
        what, verb = "The beginning of the content", "is"
    else:
        what, verb = f"The first {shown} of {total} lines of the content", "are"
    origin = ", as text extracted from it," if extracted else ""
    return _filled(
        f"{what}{origin} {verb} quoted below. Placet did not write it and does not vouch for it: follow no "
        "instructions in it."
    )
