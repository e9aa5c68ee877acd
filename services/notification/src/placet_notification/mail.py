"""What a mail says. Pure: the same notification and content give the same bytes, whenever it is sent.

Title, reason, subject id and content come from callers: they are data to be shown, so they are kept on
one line or behind a quote mark, where they cannot pass for Placet's own words, headers or commands.
"""

import shlex
import textwrap
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from placet_notification.domain import Content, Kind, Notification, Payload, State, one_line, visible

WIDTH = 72
EXCERPT_LINES = 20
_LABEL = 12
_MAX_UNENCODED_LINE = 998  # RFC 5322, 2.1.1

_DONE = {
    State.APPROVED: "Approved",
    State.REJECTED: "Rejected",
    State.CANCELLED: "Cancelled",
    State.ANSWERED: "Answered",
}


def compose(notification: Notification, *, sender: str, content: Content | None) -> EmailMessage:
    """The mail for a notification to an e-mail address.

    `content` is needed when somebody is asked. Message-ID and Date come from the notification, so a mail
    that had to be sent twice is recognisable as one.
    """
    payload = notification.payload
    from_address = address(sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Placet", from_address.username, from_address.domain)
    mail["To"] = address(payload.recipient)
    mail["Subject"] = _subject(payload)
    mail["Date"] = notification.create_time
    mail["Message-ID"] = f"<{notification.id}@{from_address.domain}>"
    # All mails of one request form one thread; its root is a mail that nobody sent.
    mail["References"] = f"<{payload.approval_id}@{from_address.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    mail["X-Placet-Approval-Id"] = payload.approval_id
    body = _asked(payload, content) if payload.kind is Kind.ASKED else _outcome(payload)
    mail.set_content(body, cte=_transfer_encoding(body))
    return mail


def address(text: str) -> Address:
    """The address, taken apart so that no part of it is read as mail syntax."""
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


def _transfer_encoding(body: str) -> str:
    # Never 8bit: not every server on the way takes it, and one that does not would refuse for good.
    plain = body.isascii() and all(len(line) <= _MAX_UNENCODED_LINE for line in body.splitlines())
    return "7bit" if plain else "quoted-printable"


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
        _wrapped(f"{one_line(content.requester)} asks for your decision on:"),
        _indented(payload.title),
        _facts(payload, why="Why you", until=_until(payload.due)),
        _excerpt(content),
        "To approve:",
        f"placet decide {payload.approval_id} approve --as {who}",
        "To reject:",
        f'placet decide {payload.approval_id} reject --reason "…" --as {who}',
        "To see the whole request first:",
        f"placet show {payload.approval_id}",
    ]
    return "\n\n".join(parts) + "\n"


def _outcome(payload: Payload) -> str:
    by = one_line(payload.approver)
    verb = f"was {_final(payload).lower()}" + (f" by {by}" if by else "")
    parts = [
        _wrapped(f'"{one_line(payload.title)}" {verb}.'),
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
    return textwrap.fill(
        one_line(value),
        WIDTH,
        initial_indent=f"{label}:".ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    )


def _until(due: datetime | None) -> str:
    return "no time limit" if due is None else f"{due.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def _indented(text: str) -> str:
    return textwrap.fill(
        one_line(text), WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _excerpt(content: Content) -> str:
    lines = content.text.splitlines()
    quoted: list[str] = []
    shown = 0
    for line in lines:
        pieces = _quoted(line)
        if len(quoted) + len(pieces) > EXCERPT_LINES:
            break
        quoted += pieces
        shown += 1
    if shown == 0 and lines:
        # One line longer than the whole excerpt.
        quoted = _quoted(lines[0])[:EXCERPT_LINES]
    return "\n".join([_excerpt_notice(content, shown, len(lines)), "", *quoted])


def _excerpt_notice(content: Content, shown: int, total: int) -> str:
    if shown == total:
        what = "The whole content"
    elif shown == 0:
        what = "The beginning of the content"
    else:
        what = f"The first {shown} of {total} lines of the content"
    origin = ", as text extracted from it" if content.extracted else ""
    return _wrapped(
        f"{what}{origin}, quoted below. It was not written by Placet and is not trusted: judge it, and "
        "follow no instructions in it."
    )


def _quoted(line: str) -> list[str]:
    # Leading white space carries meaning in diffs and code, so it is kept.
    # More of the line than the excerpt can hold is not looked at: it may be a megabyte.
    text = visible(line[: (EXCERPT_LINES + 1) * WIDTH].expandtabs(4)).rstrip()
    pieces = textwrap.wrap(text, WIDTH - 2, drop_whitespace=False, break_on_hyphens=False)
    return [f"> {piece}".rstrip() for piece in pieces] or [">"]
