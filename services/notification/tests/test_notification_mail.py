"""The text of mails, and what content cannot make them say."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_notification.domain import (
    Channel,
    Content,
    Kind,
    Notification,
    Payload,
    State,
    checked,
    is_address,
)
from placet_notification.mail import EXCERPT_LINES, WIDTH, compose
from placet_rpc.errors import InvalidArgument
from placet_text import deceptive, lines_of, one_line, visible_line

ID = "7d7a3f80-0000-5000-8000-000000000001"
CONTENT = Content(
    text="Pay 4,711 EUR.\n\n    indented\n", requester="ci@example.com", extracted=False, unread=()
)

FACTS = (("kind", "payment"), ("amount", "120 EUR"), ("counterparty", "Acme\nTo decide: click"))

ASKING = Payload(
    kind=Kind.ASKED,
    approval_id="0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001",
    content_digest=bytes(32),
    recipient="alice@example.com",
    title="Release payment 4711",
    subject_id="",
    reason="",
    tier=1,
    due=None,
    state=None,
    approver="",
)

ASKED = """\
ci@example.com asks for your decision on:

    Release payment 4711

Subject:    invoice-4711
Why you:    required approver
Until:      2030-01-02 03:04:05 UTC
Request:    0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001
Content:    SHA-256
{digest}

The whole content is quoted below. Placet did not write it and does not
vouch for it: follow no instructions in it.

> Pay 4,711 EUR.
>
>     indented

To see the whole request:

placet show 0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001 --content --as alice@example.com

To approve:

placet decide 0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001 approve --as alice@example.com

To reject:

placet decide 0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001 reject --reason "…" --as alice@example.com
"""


def notification(payload: Payload) -> Notification:
    return Notification(
        id=ID, cursor=1, create_time=datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC), payload=payload
    )


def mail(payload: Payload, content: Content | None = CONTENT) -> EmailMessage:
    """The mail as its reader gets it: through bytes."""
    sent = compose(notification(payload), sender="placet@mail.example.com", content=content)
    return message_from_bytes(sent, policy=default)


def text(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


def test_who_is_asked_is_told_everything_that_is_needed_to_decide(
    make_payload: Callable[..., Payload],
) -> None:
    payload = make_payload()
    message = mail(payload)
    assert message["Subject"] == "Decision needed: Release payment 4711"
    assert message["To"] == "alice@example.com"
    assert message["From"] == "Placet <placet@mail.example.com>"
    assert text(message) == ASKED.format(digest=payload.content_digest.hex())


def test_an_outcome_is_told_as_a_sentence(make_payload: Callable[..., Payload]) -> None:
    payload = make_payload(
        kind=Kind.OUTCOME, state=State.REJECTED, approver="bob@example.com", reason="no budget", due=None
    )
    message = mail(payload, content=None)
    assert message["Subject"] == "Rejected: Release payment 4711"
    assert text(message).startswith('"Release payment 4711" was rejected by bob@example.com.\n')
    assert "Reason:     no budget\n" in text(message)
    assert f"placet show {payload.approval_id}\n" in text(message)


@pytest.mark.parametrize("state", State)
def test_every_outcome_has_its_word(make_payload: Callable[..., Payload], state: State) -> None:
    message = mail(make_payload(kind=Kind.OUTCOME, state=state, approver="AI-Fallback"), content=None)
    assert message["Subject"] == f"{state.capitalize()}: Release payment 4711"
    assert f"was {state.lower()} by AI-Fallback." in text(message)


def test_without_a_time_limit_the_mail_says_so(make_payload: Callable[..., Payload]) -> None:
    assert "Until:      no time limit\n" in text(mail(make_payload(due=None)))


def test_a_mail_that_is_sent_twice_is_the_same_mail(make_payload: Callable[..., Payload]) -> None:
    first, second = (
        compose(notification(make_payload()), sender="placet@example.com", content=CONTENT) for _ in range(2)
    )
    assert first == second
    assert f"Message-ID: <{ID}@example.com>".encode() in first


def test_mails_of_one_request_are_one_thread_and_ask_for_no_automatic_answer(
    make_payload: Callable[..., Payload],
) -> None:
    payload = make_payload()
    message = mail(payload)
    assert message["References"] == f"<{payload.approval_id}@mail.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "evil",
    ["x\r\nBcc: eve@example.com", "x\nBcc: eve@example.com", "x\rBcc: e", "x\u2028Bcc: e", "x\x85Bcc: e"],
)
def test_no_text_can_add_a_header(make_payload: Callable[..., Payload], evil: str) -> None:
    message = mail(checked(make_payload(title=evil, subject_id=evil, reason=evil)))
    assert "Bcc" not in message
    assert message["Subject"].startswith("Decision needed: x")
    assert message["Subject"].endswith(("Bcc: eve@example.com", "Bcc: e"))


@pytest.mark.slow
@given(title=st.text(max_size=200), reason=st.text(max_size=300), body=st.text(max_size=3000))
def test_whatever_callers_write_the_mail_keeps_its_form(title: str, reason: str, body: str) -> None:
    written = replace(ASKING, title=title, subject_id=title, reason=reason)
    payload = checked(written)
    content = Content(text=body, requester="ci@example.com", extracted=True, unread=())
    sent = compose(notification(payload), sender="placet@example.com", content=content)
    message = message_from_bytes(sent, policy=default)
    head, _, encoded = sent.decode("ascii").partition("\r\n\r\n")
    assert max(map(len, head.split("\r\n"))) <= 998
    assert max(map(len, encoded.split("\r\n"))) <= 76
    assert b"\n" not in sent.replace(b"\r\n", b"")
    assert not any(part.defects for part in (message, *message.values()))
    assert message["Subject"] == f"Decision needed: {one_line(payload.title) or payload.approval_id}"
    names = ["From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted"]
    assert [name for name in message if not name.startswith(("X-", "Content-", "MIME-"))] == names
    assert deceptive(text(message)) == {}
    assert deceptive(message["Subject"]) == {}
    commands = [line for line in text(message).splitlines() if line.startswith("placet ")]
    assert len(commands) == 3
    assert sum(line.startswith(">") for line in text(message).splitlines()) <= EXCERPT_LINES
    ours = [line for line in text(message).splitlines() if line not in commands and line[:1] != ">"]
    assert all(len(line) <= WIDTH for line in ours)


@pytest.mark.parametrize(
    "title",
    [
        "=?utf-8?q?Bcc=3A_eve=40example=2Ecom?=",
        "=?utf-8?b?DQpCY2M6IGV2ZQ==?= and more",
        "word " * 39 + "word",
        "x" * 200,
        "größer " * 25,
        "🙂" * 200,
    ],
)
def test_a_title_is_read_as_it_was_written(make_payload: Callable[..., Payload], title: str) -> None:
    message = mail(checked(make_payload(title=title)))
    assert message["Subject"] == f"Decision needed: {title.strip()}"
    assert "Bcc" not in message


def test_the_excerpt_ends_after_twenty_lines_and_says_so(make_payload: Callable[..., Payload]) -> None:
    long = Content(
        text="\n".join(f"line {n}" for n in range(1, 58)),
        requester="ci@example.com",
        extracted=False,
        unread=(),
    )
    lines = text(mail(make_payload(), long)).splitlines()
    assert [line for line in lines if line.startswith(">")] == [f"> line {n}" for n in range(1, 21)]
    assert any(line.startswith("The first 20 of 57 lines of the content are quoted below.") for line in lines)


def test_a_line_of_the_content_stays_one_line(make_payload: Callable[..., Payload]) -> None:
    diff = f"-    old = {'x, ' * 60}\n+    new = {'y' * 64}, {'z' * 64}\n"
    quoted = text(
        mail(make_payload(), Content(text=diff, requester="ci@example.com", extracted=False, unread=()))
    )
    assert all(f"> {line.rstrip()}\n" in quoted for line in diff.splitlines())


def test_a_megabyte_on_one_line_is_cut(make_payload: Callable[..., Payload]) -> None:
    huge = Content(text="x" * 2**20, requester="ci@example.com", extracted=False, unread=())
    message = mail(make_payload(), huge)
    assert "The beginning of the content is quoted below." in text(message)
    assert text(message).count("\n>") == 1
    assert len(bytes(message)) < 10_000


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\u3000", " \u2003"])
@pytest.mark.parametrize("number", [41, 200, 1600, 100_000])
def test_an_end_behind_blanks_is_shown_and_the_blanks_are_too(
    make_payload: Callable[..., Payload], blank: str, number: int
) -> None:
    padded = f"Please approve EUR 10 to ACME{blank * number}EUR 1000000 to Eve\n"
    body = text(
        mail(make_payload(), Content(text=padded, requester="ci@example.com", extracted=False, unread=()))
    )
    (quoted,) = [line for line in body.splitlines() if line.startswith("> ")]
    assert "The whole content is quoted below." in body
    assert quoted.endswith(" blanks>EUR 1000000 to Eve")
    assert len(quoted) < 80


@given(
    st.lists(st.text(st.sampled_from(" \tab\u200b\u3000\n"), max_size=30), max_size=8), st.integers(1, 300)
)
def test_a_mail_that_claims_the_whole_content_holds_all_that_is_shown_of_it(
    parts: list[str], repeated: int
) -> None:
    written = "x" + "".join(part * repeated for part in parts) + "THE-END"
    content = Content(text=written, requester="ci@example.com", extracted=False, unread=())
    composed = compose(notification(ASKING), sender="placet@mail.example.com", content=content)
    body = text(message_from_bytes(composed, policy=default))
    if "The whole content is quoted below." in body:
        quoted = [line[2:] for line in body.splitlines() if line[:1] == ">"]
        assert quoted == [visible_line(line).rstrip() for line in lines_of(written)]
        assert quoted[-1].endswith("THE-END")


def test_extracted_text_is_called_so(make_payload: Callable[..., Payload]) -> None:
    extracted = Content(text="from a PDF", requester="ci@example.com", extracted=True, unread=())
    assert "The whole content, as text extracted from it, is quoted below." in text(
        mail(make_payload(), extracted)
    )


UNREAD = (
    "Careful: not all of this content was read, or is visible in it.",
    "2 images were not read, first on page 3.",
    "1 embedded file was not read.",
)


def test_what_was_not_read_comes_first_and_no_mail_calls_the_rest_whole(
    make_payload: Callable[..., Payload],
) -> None:
    partly = Content(text="from a PDF", requester="ci@example.com", extracted=True, unread=UNREAD)
    body = text(mail(make_payload(), partly))
    assert body.startswith(
        f"{UNREAD[0]}\n\n- {UNREAD[1]}\n- {UNREAD[2]}\n\nci@example.com asks for your decision"
    )
    assert "All that was read of the content, as text extracted from it, is quoted below." in " ".join(
        body.split()
    )
    assert "whole content" not in body.lower()


def test_content_without_any_text_is_said_to_have_none(make_payload: Callable[..., Payload]) -> None:
    scanned = Content(text="", requester="ci@example.com", extracted=True, unread=UNREAD)
    body = text(mail(make_payload(), scanned))
    assert "No text could be read from the content." in body
    assert "quoted below" not in body


def test_text_that_reorders_or_hides_is_made_visible(make_payload: Callable[..., Payload]) -> None:
    tricky = Content(
        text="pay \u202e1174\u202c EUR\u200b", requester="ci@example.com", extracted=False, unread=()
    )
    message = mail(make_payload(title="pay \u202e1174"), tricky)
    assert message["Subject"] == "Decision needed: pay <U+202E>1174"
    assert "> pay <U+202E>1174<U+202C> EUR<U+200B>\n" in text(message)


def test_a_mail_warns_of_what_may_deceive_before_it_shows_it(make_payload: Callable[..., Payload]) -> None:
    mixed = (
        "The title has words or numbers of several scripts that look alike: U+0430 CYRILLIC SMALL LETTER A"
    )
    warnings = (
        f"{mixed} among LATIN letters at line 1, column 2",
        "The content holds control characters: U+001B at line 1, column 3",
    )
    tricky = Content(
        text="ok\x1b[2K", requester="ci@example.com", extracted=False, unread=(), warnings=warnings
    )
    body = text(mail(make_payload(), tricky))
    assert body.index(WARNED) < body.index("The whole content") < body.index("> ok<U+001B>[2K\n")


WARNED = """
Careful: this may look like something else than it is.

- The title has words or numbers of several scripts that look alike:
  U+0430 CYRILLIC SMALL LETTER A among LATIN letters at line 1, column 2
- The content holds control characters: U+001B at line 1, column 3

What could not be seen is shown by its number, like <U+202E>.
"""


def test_no_line_of_the_content_is_hidden_in_the_one_before(make_payload: Callable[..., Payload]) -> None:
    tricky = Content(
        text="a\x0bb\x85c\u2028d\re\r\nf", requester="ci@example.com", extracted=False, unread=()
    )
    assert "> a<U+000B>b<U+0085>c<U+2028>d\n> e\n> f\n" in text(mail(make_payload(), tricky))


def test_content_cannot_pass_for_a_command(make_payload: Callable[..., Payload]) -> None:
    fake = Content(
        text="ok\nplacet decide x approve\r\nplacet show y",
        requester="ci@example.com",
        extracted=False,
        unread=(),
    )
    body = text(mail(make_payload(reason="fine\n\nplacet decide z approve"), fake))
    commands = [line for line in body.splitlines() if line.startswith("placet ")]
    assert all("0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001" in command for command in commands)


def test_commands_are_safe_to_paste_whatever_the_address(make_payload: Callable[..., Payload]) -> None:
    body = text(mail(make_payload(recipient="a`reboot`'$x&b@example.com")))
    assert "approve --as 'a`reboot`'\"'\"'$x&b@example.com'\n" in body


def test_an_odd_address_is_left_as_it_is(make_payload: Callable[..., Payload]) -> None:
    assert mail(make_payload(recipient="a..b{c}@example.com"))["To"] == "a..b{c}@example.com"


@pytest.mark.parametrize("recipient", ["alice@example.com", "a+b.c@sub.example.com", "a@localhost"])
def test_addresses_are_mailed(make_payload: Callable[..., Payload], recipient: str) -> None:
    assert is_address(recipient)
    assert make_payload(recipient=recipient).channel is Channel.EMAIL


@pytest.mark.parametrize(
    "recipient", ["billing-service", "a@b@c", "a b@example.com", "@example.com", "ä@example.com"]
)
def test_who_has_no_address_is_told_by_log(make_payload: Callable[..., Payload], recipient: str) -> None:
    assert make_payload(recipient=recipient).channel is Channel.LOG


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipient": "a\nb"}, "recipient"),
        ({"recipient": "a\x00b"}, "recipient"),
        ({"kind": Kind.OUTCOME}, "state"),
        ({"state": State.APPROVED}, "state"),
    ],
)
def test_a_wrong_payload_is_refused_by_field(
    make_payload: Callable[..., Payload], changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked(make_payload(**changes))
    assert [violation.field for violation in caught.value.violations] == [field]


def test_what_postgresql_cannot_store_is_replaced(make_payload: Callable[..., Payload]) -> None:
    assert checked(make_payload(title="a\x00b")).title == "a\ufffdb"


def test_a_mail_shows_the_declared_facts_as_the_requesters_words() -> None:
    shown = text(mail(ASKING, replace(CONTENT, facts=FACTS)))
    assert "Declared by the requester:\nkind:" in shown
    assert "\namount:       120 EUR\ncounterparty: Acme To decide: click\n" in shown
    assert "Declared" not in text(mail(ASKING))
