"""The e-mail channel: SMTP conversations (RFC 5321) with one mail server."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Hashable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

import aiosmtplib
from opentelemetry import trace

from placet_notification.channels import ChannelUnavailable, FetchContent, RecipientRefused
from placet_notification.domain import Notification
from placet_notification.mail import address, compose
from placet_text import one_line

_TRACER = trace.get_tracer(__name__)
_MAX_REPLY = 300
# A connection that was idle for longer is not used again: a firewall may have forgotten it.
_IDLE_SECONDS = 30.0
_QUIT_SECONDS = 1.0


class Security(StrEnum):
    """Protection of a conversation: none, upgraded by STARTTLS, or TLS from the first byte."""

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


@dataclass(frozen=True)
class _Idle:
    """An idle connection. Unless `is_clean`, a refused mail's envelope is to be reset first."""

    client: aiosmtplib.SMTP
    # On the loop's clock.
    since: float
    is_clean: bool


class EmailChannel:
    """Sends mails by one server in at most `connections` conversations at once, which are used again.

    One tenant holds at most half of them, and one recipient one. A conversation that breaks off between the
    mail's last byte and the server's reply counts as not taken: the mail may then arrive twice, with the same
    Message-ID.
    """

    def __init__(self, server: MailServer, *, sender: str, connections: int = 4) -> None:
        self._server = server
        self._sender = sender
        self._tls = None
        if server.security is not Security.NONE:
            self._tls = ssl.create_default_context(cafile=server.ca_file)
        self._all = asyncio.Semaphore(connections)
        self._by_tenant = _Limits(max(1, connections // 2))
        self._by_recipient = _Limits(1)
        # The newest last.
        self._idle: list[_Idle] = []

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """Composes the mail and hands it to the server, in at most `within` seconds.

        Half of them may pass in waiting for other mails, so that no conversation is begun only to be broken
        off. The content is fetched after that: many may wait while mail stands still.
        """
        ends = asyncio.get_running_loop().time() + within
        recipient = notification.payload.recipient
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(within / 2):
                    for limit in (
                        self._by_recipient.of((tenant, recipient)),
                        self._by_tenant.of(tenant),
                        self._all,
                    ):
                        await held.enter_async_context(limit)
            except TimeoutError:
                raise ChannelUnavailable("the mail server is busy with other mails") from None
            mail = compose(notification, sender=self._sender, content=await content())
            attributes: dict[str, str | int] = {
                "server.address": self._server.host,
                "server.port": self._server.port,
            }
            with _TRACER.start_as_current_span("smtp send", attributes=attributes):
                await self._send(recipient, mail, ends - asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Ends all idle connections, politely but briefly."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(one.client) for one in idle))

    async def _send(self, recipient: str, mail: bytes, left: float) -> None:
        try:
            async with asyncio.timeout(left):
                await self._converse(recipient, mail)
        except TimeoutError as error:
            raise ChannelUnavailable(f"the mail server did not answer within {left:.1f} s") from error
        except aiosmtplib.SMTPResponseException as error:
            # Without its cause: that holds the raw reply, which spans and logs cannot always encode.
            raise _refusal(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise ChannelUnavailable(one_line(str(error))[:_MAX_REPLY]) from error

    async def _converse(self, recipient: str, mail: bytes) -> None:
        client = await self._begun()
        with self._kept(client):
            await client.rcpt(_envelope_address(recipient))
            await client.data(mail)
        self._keep(client, is_clean=True)

    async def _begun(self) -> aiosmtplib.SMTP:
        """A connection, an idle one if there is one, on which the server has taken MAIL."""
        while self._idle:
            idle = self._idle.pop()
            if asyncio.get_running_loop().time() - idle.since > _IDLE_SECONDS:
                idle.client.close()
                continue
            try:
                with self._kept(idle.client):
                    if not idle.is_clean:
                        await idle.client.rset()
                    await idle.client.mail(self._sender)
            except (aiosmtplib.SMTPException, OSError):
                # Servers close idle connections, some with a reply. No mail has been handed over yet.
                if idle.client.is_connected:
                    raise
            else:
                return idle.client
        client = await self._connected()
        with self._kept(client):
            await client.mail(self._sender)
        return client

    @contextmanager
    def _kept(self, client: aiosmtplib.SMTP) -> Iterator[None]:
        """Keeps the connection after a refusal, and closes it when the conversation breaks off."""
        try:
            yield
        except aiosmtplib.SMTPResponseException:
            self._keep(client, is_clean=False)
            raise
        except BaseException:
            client.close()  # Its state is unknown.
            raise

    def _keep(self, client: aiosmtplib.SMTP, *, is_clean: bool) -> None:
        if client.is_connected:
            self._idle.append(_Idle(client, asyncio.get_running_loop().time(), is_clean))

    async def _connected(self) -> aiosmtplib.SMTP:
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


class _Limits:
    """A semaphore per key, while it has holders or waiters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._semaphores: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, key: Hashable) -> asyncio.Semaphore:
        return self._semaphores.setdefault(key, asyncio.Semaphore(self._limit))


async def _quit(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=_QUIT_SECONDS)
    client.close()


@lru_cache(maxsize=1000)
def _envelope_address(recipient: str) -> str:
    return address(recipient).addr_spec


# A refusal of the recipient is final and is reported to no one, so it must be certain. All else (greeting,
# login, sender, policy, the server's state) is for an operator to mend, and the same mail may go afterwards.

# At RCPT, from servers that give no enhanced code: the address is not taken as it is written (501), has no
# mailbox (550), is not here (551), is not allowed as a name (553), is of a domain that takes no mail (556,
# RFC 7504). Not 552, which RFC 5321, 4.5.3.1.10 has clients take for 452; not 503, 530, 554 and so on, which
# are about the session, its authentication or its policy.
_ABOUT_THE_RECIPIENT = frozenset({501, 550, 551, 553, 556})

# RFC 3463. X.1.Z speaks of addresses, mostly the recipient's; X.2.Z of its mailbox: disabled, or not for such
# mails. Not X.1.7 and X.1.8, the sender's address; not X.2.2, a full mailbox, which can be emptied.
_ENHANCED_ABOUT_THE_RECIPIENT = frozenset(
    {"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.0", "2.1", "2.3", "2.4"}
)
_ENHANCED = re.compile(r"5\.(\d{1,3}\.\d{1,3})(?!\d)")


def _refusal(error: aiosmtplib.SMTPResponseException) -> ChannelUnavailable | RecipientRefused:
    reply = one_line(error.message)[:_MAX_REPLY]
    if _refuses_recipient(error):
        return RecipientRefused(error.code, reply)
    return ChannelUnavailable(f"{error.code} {reply}")


def _refuses_recipient(error: aiosmtplib.SMTPResponseException) -> bool:
    """True if the reply says that this recipient gets no mail, ever.

    After the mail's last byte only an enhanced code can say so: a bare 550 is a refusal by policy there
    (RFC 5321, 4.3.2). The enhanced code, where there is one, says more than the basic one.
    """
    at_recipient = isinstance(error, aiosmtplib.SMTPRecipientRefused)
    if not (at_recipient or isinstance(error, aiosmtplib.SMTPDataError)) or not 500 <= error.code < 600:
        return False
    enhanced = _ENHANCED.match(error.message)
    if enhanced is not None:
        return enhanced[1] in _ENHANCED_ABOUT_THE_RECIPIENT
    return at_recipient and error.code in _ABOUT_THE_RECIPIENT
