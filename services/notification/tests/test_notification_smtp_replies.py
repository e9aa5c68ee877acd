"""Refusals by recipient, sender or server, at every stage of a real SMTP conversation."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from placet_notification.channels import ChannelUnavailable, RecipientRefused
from placet_notification.domain import Content, Notification
from placet_notification.smtp import EmailChannel, MailServer

pytestmark = pytest.mark.integration


async def content() -> Content:
    """The content to decide on."""
    return Content(text="text", requester="ci@example.com", extracted=False, unread=())


@dataclass
class Script:
    """A server that answers each stage as told: greeting, EHLO, MAIL, RCPT, DATA, and "." for the mail."""

    answers: dict[str, str] = field(default_factory=dict)
    conversations: int = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.conversations += 1
        self.answer(writer, "greeting")
        in_mail = False
        while line := await reader.readline():
            if in_mail and line != b".\r\n":
                continue
            verb = "." if in_mail else line[:4].decode()
            in_mail = self.answer(writer, verb).startswith("354")
        writer.close()

    def answer(self, writer: asyncio.StreamWriter, verb: str) -> str:
        """Says what was told, or what is usual."""
        usual = {"greeting": "220 here", "DATA": "354 go on"}.get(verb, "250 OK")
        # Who is refused by EHLO tries HELO.
        answer = self.answers.get("EHLO" if verb == "HELO" else verb, usual)
        writer.write(f"{answer}\r\n".encode("latin-1"))
        return answer


@pytest.fixture
def script() -> Script:
    """The replies of the server."""
    return Script()


@pytest.fixture
async def channel(script: Script) -> AsyncIterator[EmailChannel]:
    """A channel to that server."""
    async with await asyncio.start_server(script.converse, "127.0.0.1", 0) as server:
        mail_server = MailServer(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        channel = EmailChannel(mail_server, sender="placet@example.com")
        yield channel
        await channel.close()


FOR_GOOD = [
    ("RCPT", "550 no such user here"),
    ("RCPT", "550 5.1.1 no such user here"),
    ("RCPT", "550-5.1.1 no such user here\r\n550 5.1.1 as was said"),
    ("RCPT", "551 user not local"),
    ("RCPT", "551 5.1.6 moved to elsewhere"),
    ("RCPT", "553 mailbox name not allowed"),
    ("RCPT", "501 that is no address"),
    ("RCPT", "501 5.1.3 bad destination mailbox address syntax"),
    ("RCPT", "550 5.2.1 mailbox disabled"),
    ("RCPT", "554 5.1.1 no such user"),
    ("RCPT", "556 domain takes no mail"),
    ("RCPT", "556 5.1.10 null MX"),
    ("DATA", "554 5.1.1 no valid recipients"),
    (".", "550 5.1.1 no such user after all"),
    (".", "550 5.2.1 mailbox disabled"),
]

MAY_PASS = [
    ("greeting", "554 no service here"),
    ("greeting", "521 takes no mail"),
    ("greeting", "421 busy"),
    ("EHLO", "550 who are you?"),
    ("EHLO", "554 5.7.1 your address is on a list"),
    ("MAIL", "530 5.7.0 authentication required"),
    ("MAIL", "550 sender unknown"),
    ("MAIL", "550 5.1.8 bad sender's system address"),
    ("MAIL", "553 5.7.1 sender not owned by user"),
    ("MAIL", "554 5.7.1 your address is on a list"),
    ("MAIL", "552 too large"),
    ("MAIL", "451 later"),
    ("RCPT", "421 going down"),
    ("RCPT", "450 4.2.1 busy"),
    ("RCPT", "451 4.7.1 greylisted"),
    ("RCPT", "452 too many recipients"),
    ("RCPT", "500 what?"),
    ("RCPT", "502 not implemented"),
    ("RCPT", "503 bad sequence"),
    ("RCPT", "521 takes no mail"),
    ("RCPT", "530 authentication required"),
    ("RCPT", "530 5.7.0 authentication required"),
    ("RCPT", "534 5.7.9 mechanism too weak"),
    ("RCPT", "535 5.7.8 credentials invalid"),
    ("RCPT", "538 5.7.11 encryption required"),
    ("RCPT", "550 5.7.1 relaying denied"),
    ("RCPT", "550 5.1.7 bad sender's mailbox address"),
    ("RCPT", "552 mailbox full"),
    ("RCPT", "552 5.2.2 mailbox full"),
    ("RCPT", "554 relay access denied"),
    ("RCPT", "554 5.7.1 relay access denied"),
    ("DATA", "554 no"),
    ("DATA", "554 5.5.1 no valid recipients"),
    ("DATA", "503 bad sequence"),
    (".", "421 going down"),
    (".", "451 try later"),
    (".", "550 refused by policy"),
    (".", "550 5.7.1 looks like spam"),
    (".", "552 5.3.4 too large for this system"),
    (".", "554 transaction failed"),
    (".", "554 5.6.0 malformed"),
]


@pytest.mark.parametrize(("stage", "answer"), FOR_GOOD)
async def test_what_is_the_recipients_is_refused_for_good(
    script: Script, channel: EmailChannel, asked: Notification, stage: str, answer: str
) -> None:
    script.answers = {stage: answer}
    with pytest.raises(RecipientRefused) as caught:
        await channel.deliver("default", asked, content, within=10)
    assert caught.value.code == int(answer[:3])
    assert str(caught.value).startswith(answer.split("\r\n")[0].replace("-", " ", 1)[:20])


@pytest.mark.parametrize(("stage", "answer"), MAY_PASS)
async def test_what_is_the_servers_or_ours_may_pass(
    script: Script, channel: EmailChannel, asked: Notification, stage: str, answer: str
) -> None:
    script.answers = {stage: answer}
    with pytest.raises(ChannelUnavailable) as caught:
        await channel.deliver("default", asked, content, within=10)
    assert str(caught.value).startswith(answer)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
async def test_after_a_refusal_the_next_mail_goes_by_the_same_connection(
    script: Script, channel: EmailChannel, asked: Notification, stage: str
) -> None:
    script.answers = {stage: "451 later"}
    with pytest.raises(ChannelUnavailable):
        await channel.deliver("default", asked, content, within=10)
    script.answers = {}
    await channel.deliver("default", asked, content, within=10)
    assert script.conversations == 1


@pytest.mark.parametrize(("code", "verdict"), [(550, RecipientRefused), (451, ChannelUnavailable)])
async def test_an_answer_that_is_not_in_utf8_can_be_stored_and_told(
    script: Script, channel: EmailChannel, asked: Notification, code: int, verdict: type[Exception]
) -> None:
    script.answers = {"RCPT": f"{code} Empfänger unbekannt"}
    with pytest.raises(verdict) as caught:
        await channel.deliver("default", asked, content, within=10)
    # With its causes, for spans and logs show those, too.
    told = "".join(traceback.format_exception(caught.value))
    assert f"{code} Empf<U+DCE4>nger unbekannt" in told
    assert told.encode()
