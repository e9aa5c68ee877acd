"""What a mail says. Pure: the same notification and content give the same bytes, whenever it is sent.

Title, reason, subject id and content come from callers: they are data to be shown, so they are kept on
one line or behind a quote mark, where they cannot pass for Placet's own words, headers or commands.
"""

import binascii
import shlex
import textwrap
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime
from functools import lru_cache

from placet_notification.domain import Content, Kind, Notification, Payload, State
from placet_text import CAREFUL, NUMBERED, lines_of, one_line, visible

WIDTH = 72
EXCERPT_LINES = 20
_LABEL = 12
# RFC 5322, 2.1.1: what a line should not and must not exceed, without its end.
_HEADER_LINE = 78
_MAX_UNENCODED_LINE = 998

_DONE = {
    State.APPROVED: "Approved",
    State.REJECTED: "Rejected",
    State.CANCELLED: "Cancelled",
    State.ANSWERED: "Answered",
}


def compose(notification: Notification, *, sender: str, content: Content | None) -> bytes:
    """The mail for a notification to an e-mail address, as it goes over the wire: ASCII, with CRLF.

    `content` is needed when somebody is asked. Message-ID and Date come from the notification, so a mail
    that had to be sent twice is recognisable as one. Written by hand, because every value is of a known form
    and `email.message` takes two milliseconds to find that out.
    """
    payload = notification.payload
    body = _asked(payload, content) if payload.kind is Kind.ASKED else _outcome(payload)
    encoding, encoded = _transfer_encoded(body)
    domain = address(sender).domain
    head = (
        f"From: Placet <{address(sender).addr_spec}>",
        f"To: {address(payload.recipient).addr_spec}",
        _header("Subject", _subject(payload)),
        f"Date: {format_datetime(notification.create_time)}",
        f"Message-ID: <{notification.id}@{domain}>",
        # All mails of one request form one thread; its root is a mail that nobody sent.
        f"References: <{payload.approval_id}@{domain}>",
        "Auto-Submitted: auto-generated",  # RFC 3834: no out-of-office answers, please
        f"X-Placet-Approval-Id: {payload.approval_id}",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        f"Content-Transfer-Encoding: {encoding}",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + encoded


@lru_cache(maxsize=1000)
def address(text: str) -> Address:
    """The address, taken apart so that no part of it is read as mail syntax."""
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


def _header(name: str, text: str) -> str:
    """The header field of a text on one line, folded, and encoded (RFC 2047) where it is not plain."""
    if not text.isascii() or "=?" in text:
        # Also what only looks encoded: its reader would decode it into something else.
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
    """The body with CRLF, and how it is encoded.

    Never 8bit: not every server on the way takes it, and one that does not would refuse for good.
    """
    raw = body.replace("\n", "\r\n").encode()
    if body.isascii() and all(len(line) <= _MAX_UNENCODED_LINE for line in body.splitlines()):
        return "7bit", raw
    return "quoted-printable", binascii.b2a_qp(raw, istext=True)


def _subject(payload: Payload) -> str:
    title = one_line(payload.title) or payload.approval_id
    if payload.kind is Kind.ASKED:
        return f"Decision needed: {title}"
    return f"{_DONE[_final(payload)]}: {title}"


def _asked(payload: Payload, content: Content | None) -> str:
    if content is None:
        raise ValueError("a mail that asks for a decision shows what is to be decided")
    who = shlex.quote(payload.recipient)
    parts = [
        _filled(f"{one_line(content.requester)} asks for your decision on:"),
        _indented(payload.title),
        _facts(payload, why="Why you", until=_until(payload.due)),
        *_warned(content),
        _excerpt(content),
        "To approve:",
        f"placet decide {payload.approval_id} approve --as {who}",
        "To reject:",
        f'placet decide {payload.approval_id} reject --reason "…" --as {who}',
        "To see the whole request first:",
        f"placet show {payload.approval_id} --content --as {who}",
    ]
    return "\n\n".join(parts) + "\n"


def _outcome(payload: Payload) -> str:
    by = one_line(payload.approver)
    verb = f"was {_final(payload).lower()}" + (f" by {by}" if by else "")
    parts = [
        _filled(f'"{one_line(payload.title)}" {verb}.'),
        _facts(payload, why="Reason", until=None),
        "To see how it came about:",
        f"placet show {payload.approval_id}",
    ]
    return "\n\n".join(parts) + "\n"


def _final(payload: Payload) -> State:
    if payload.state is None:
        raise ValueError("an outcome has a final state")
    return payload.state


def _facts(payload: Payload, *, why: str, until: str | None) -> str:
    facts = [
        ("Subject", payload.subject_id),
        (why, payload.reason),
        ("Until", until or ""),
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
    """The text, which has single spaces, in lines of at most WIDTH."""
    if text and len(first) + len(text) <= WIDTH:
        return first + text
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=other, break_on_hyphens=False)


def _warned(content: Content) -> list[str]:
    """How what is shown may deceive, before it is shown."""
    if not content.warnings:
        return []
    told = [_filled(one_line(warning), first="- ", other="  ") for warning in content.warnings]
    return [_filled(CAREFUL), "\n".join(told), _filled(NUMBERED)]


def _excerpt(content: Content) -> str:
    lines = lines_of(content.text)
    quoted: list[str] = []
    rows = 0
    for line in lines:
        text = _quoted(line)
        rows += 1 + len(text) // WIDTH
        if rows > EXCERPT_LINES:
            break
        quoted.append(text)
    shown = len(quoted)
    if shown == 0 and lines:
        # One line longer than the whole excerpt.
        quoted = [_quoted(lines[0])[: EXCERPT_LINES * WIDTH - 1] + "…"]
    return "\n".join([_excerpt_notice(shown, len(lines), content.extracted), "", *quoted])


@lru_cache(maxsize=1000)
def _excerpt_notice(shown: int, total: int, extracted: bool) -> str:
    if shown == total:
        what = "The whole content"
    elif shown == 0:
        what = "The beginning of the content"
    else:
        what = f"The first {shown} of {total} lines of the content"
    origin = ", as text extracted from it" if extracted else ""
    return _filled(
        f"{what}{origin}, quoted below. It was not written by Placet and is not trusted: judge it, and "
        "follow no instructions in it."
    )


def _quoted(line: str) -> str:
    # One line stays one line, however long: half a line of a diff would say something else. Leading white
    # space carries meaning there too, so it is kept.
    # More of the line than the excerpt can hold is not looked at: it may be a megabyte.
    return f"> {visible(line[: (EXCERPT_LINES + 1) * WIDTH].expandtabs(4))}".rstrip()
