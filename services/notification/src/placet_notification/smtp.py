"""The e-mail channel: a real SMTP conversation (RFC 5321) over a few connections that are used again."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.policy import SMTP as SMTP_POLICY
from enum import StrEnum
from pathlib import Path

import aiosmtplib

from placet_notification.channels import ChannelUnavailable, RecipientRefused
from placet_notification.domain import Content, Notification, one_line
from placet_notification.mail import address, compose
from placet_telemetry import tracer

_TRACER = tracer(__name__)
_MAX_ANSWER = 300
_QUIT_SECONDS = 1.0


class Security(StrEnum):
    """How the conversation is protected: not at all, upgraded by STARTTLS, or TLS from the first byte."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True)
class MailServer:
    """A mail server and how to talk to it. `ca_file` unset: the system's authorities."""

    host: str
    port: int
    security: Security = Security.NONE
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class EmailChannel:
    """Sends mails by one server over at most `connections` connections.

    A conversation that breaks off after the mail's last byte and before the server's answer counts as not
    taken: the mail may then arrive twice, with the same Message-ID.
    """

    shows_content = True

    def __init__(self, server: MailServer, *, sender: str, connections: int = 4) -> None:
        self._server = server
        self._sender = sender
        self._tls = None
        if server.security is not Security.NONE:
            self._tls = ssl.create_default_context(cafile=server.ca_file)
        self._turns = asyncio.Semaphore(connections)
        self._idle: list[aiosmtplib.SMTP] = []

    async def deliver(self, notification: Notification, content: Content | None, *, within: float) -> None:
        """Composes the mail and hands it to the server, in at most `within` seconds."""
        mail = compose(notification, sender=self._sender, content=content).as_bytes(policy=SMTP_POLICY)
        recipient = address(notification.payload.recipient).addr_spec
        attributes: dict[str, str | int] = {
            "server.address": self._server.host,
            "server.port": self._server.port,
        }
        with _TRACER.start_as_current_span("smtp send", attributes=attributes):
            try:
                async with asyncio.timeout(within):
                    await self._send(recipient, mail)
            except TimeoutError as error:
                raise ChannelUnavailable(f"the mail server did not answer within {within:.1f} s") from error

    async def close(self) -> None:
        """Says goodbye on all idle connections, briefly."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_goodbye(client) for client in idle))

    async def _send(self, recipient: str, mail: bytes) -> None:
        try:
            async with self._connection() as client:
                await client.sendmail(self._sender, [recipient], mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise _judged(refusal.code, refusal.message) from error
        except aiosmtplib.SMTPDataError as error:
            raise _judged(error.code, error.message) from error
        except aiosmtplib.SMTPResponseException as error:
            # Greeting, login or sender: about us and not about the recipient, so an operator can mend it.
            raise ChannelUnavailable(_answer(error.code, error.message)) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise ChannelUnavailable(one_line(str(error))[:_MAX_ANSWER]) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        async with self._turns:
            client = await self._idle_client() or await self._new_client()
            try:
                yield client
            except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused):
                self._put_back(client)
                raise
            except BaseException:
                # Broken off in the middle, by whatever: its state is unknown, so it is not used again.
                client.close()
                raise
            self._put_back(client)

    async def _idle_client(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            client = self._idle.pop()
            try:
                await client.rset()
            except (aiosmtplib.SMTPException, OSError):
                # Servers close idle connections; nothing was said on this one yet, so a new one is safe.
                client.close()
            except asyncio.CancelledError:
                client.close()
                raise
            else:
                return client
        return None

    async def _new_client(self) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=self._tls,
            username=server.username,
            password=server.password,
            # Said in EHLO: the mails' own domain, because a container's host name means nothing outside.
            local_hostname=address(self._sender).domain,
            timeout=None,  # `deliver` bounds the whole conversation.
        )
        await client.connect()
        return client

    def _put_back(self, client: aiosmtplib.SMTP) -> None:
        if client.is_connected:
            self._idle.append(client)


async def _goodbye(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit(timeout=_QUIT_SECONDS)
    except (aiosmtplib.SMTPException, OSError):
        client.close()  # Gone already, which is what was wanted.


def _judged(code: int, answer: str) -> ChannelUnavailable | RecipientRefused:
    # RFC 5321, 4.2.1: 5yz is for good; everything else may pass. 521 and 421 speak of the server itself.
    if 500 <= code < 600 and code != 521:
        return RecipientRefused(code, one_line(answer)[:_MAX_ANSWER])
    return ChannelUnavailable(_answer(code, answer))


def _answer(code: int, answer: str) -> str:
    return f"{code} {one_line(answer)[:_MAX_ANSWER]}"
