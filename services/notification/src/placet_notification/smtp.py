"""The e-mail channel: a real SMTP conversation (RFC 5321), with few at once and fair turns."""

import asyncio
from functools import lru_cache

import aiosmtplib

from placet_notification.channels import ChannelUnavailable, FetchContent, RecipientRefused
from placet_notification.connections import Answered, BrokenOff, Connections, MailServer
from placet_notification.domain import Notification
from placet_notification.mail import address, compose
from placet_notification.replies import Stage, refuses_recipient
from placet_notification.turns import NoTurn, Party, Turns
from placet_telemetry import tracer
from placet_text import one_line

_TRACER = tracer(__name__)
_MAX_ANSWER = 300


class EmailChannel:
    """Sends mails by one server in at most `connections` conversations at once.

    A conversation that breaks off after the mail's last byte and before the server's answer counts as not
    taken: the mail may then arrive twice, with the same Message-ID.
    """

    def __init__(
        self, server: MailServer, *, sender: str, connections: int = 4, idle_seconds: float = 30
    ) -> None:
        """`idle_seconds`: how long a connection that nobody uses is kept."""
        self._sender = sender
        # Said in EHLO: the mails' own domain, because a container's host name means nothing outside.
        self._connections = Connections(
            server, sender=sender, hello=address(sender).domain, idle_seconds=idle_seconds
        )
        self._turns = Turns(connections)
        self._attributes: dict[str, str | int] = {
            "server.address": server.host,
            "server.port": server.port,
        }

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """Composes the mail and hands it to the server, in at most `within` seconds.

        Half of them may pass in waiting for a turn, so that no conversation is begun only to be broken off.
        Whoever waits holds no content: while mail stands still many do.
        """
        ends = asyncio.get_running_loop().time() + within
        recipient = notification.payload.recipient
        try:
            async with self._turns.turn(Party(tenant, recipient), within / 2):
                mail = compose(notification, sender=self._sender, content=await content())
                with _TRACER.start_as_current_span("smtp send", attributes=self._attributes):
                    await self._send(recipient, mail, ends)
        except NoTurn as error:
            raise ChannelUnavailable(f"the mail server is busy with other mails: {error}") from error

    def begin_no_more(self) -> None:
        """Sends away whoever waits for a turn, and whoever comes; conversations go on to their end."""
        self._turns.close()

    async def close(self) -> None:
        """Says goodbye on all idle connections, briefly."""
        await self._connections.close()

    async def _send(self, recipient: str, mail: bytes, ends: float) -> None:
        left = ends - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left):
                await self._converse(recipient, mail)
        except TimeoutError as error:
            raise ChannelUnavailable(f"the mail server did not answer within {left:.1f} s") from error

    async def _converse(self, recipient: str, mail: bytes) -> None:
        try:
            async with self._connections.begun() as client:
                await client.rcpt(_envelope_address(recipient))
                await client.data(mail)
        except Answered as error:
            # Without its cause: that holds the answer as it came, which spans and logs cannot always encode.
            raise _judged(error) from None
        except BrokenOff as error:
            raise ChannelUnavailable(one_line(str(error))[:_MAX_ANSWER]) from error


@lru_cache(maxsize=1000)
def _envelope_address(recipient: str) -> str:
    return address(recipient).addr_spec


def _judged(error: Answered) -> ChannelUnavailable | RecipientRefused:
    answer = one_line(error.message)[:_MAX_ANSWER]
    if refuses_recipient(_stage(error), error.code, error.message):
        return RecipientRefused(error.code, answer)
    return ChannelUnavailable(f"{error.code} {answer}")


def _stage(error: Answered) -> Stage:
    stages = {
        aiosmtplib.SMTPSenderRefused: Stage.SENDER,
        aiosmtplib.SMTPRecipientRefused: Stage.RECIPIENT,
        aiosmtplib.SMTPDataError: Stage.MAIL,
    }
    return stages.get(type(error), Stage.BEFORE)
