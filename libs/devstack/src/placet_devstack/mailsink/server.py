"""The SMTP conversation of the mail sink (RFC 5321), on a loopback address only."""

import asyncio
import functools
import ipaddress
import logging

from aiosmtpd.smtp import SMTP, Envelope, Session

from placet_devstack.mailsink.box import MailBox

_LOG = logging.getLogger("placet.mailsink")

MAX_MAIL_BYTES = 1 << 20
_MAX_RECIPIENTS = 100
_MAX_CONNECTIONS = 50
_IDLE_SECONDS = 60.0
_STOP_SECONDS = 5.0


def listen_address(text: str) -> tuple[str, int]:
    """Reads `host:port` (`[::1]:port`). Raises ValueError unless the host is a loopback address.

    The sink takes mail from anybody without asking who they are, so nobody else may reach it.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address; use 127.0.0.1:{port}") from None
    if not loopback:
        raise ValueError(f"{host} is not a loopback address; use 127.0.0.1:{port}")
    return host, int(port)


class MailSink:
    """A mail server that keeps every mail in a box and sends none on."""

    def __init__(self, box: MailBox) -> None:
        self._box = box
        self._sessions: set[_Session] = set()
        self._conversing: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port: that one, or a free one for 0. Raises OSError if it is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Takes no more connections, answers the mails that are being sent, and hangs up within seconds."""
        if self._server is None:
            return
        self._server.close()
        if self._conversing:
            await asyncio.wait(self._conversing, timeout=_STOP_SECONDS)
        for session in list(self._sessions):
            session.hang_up()
        await self._server.wait_closed()

    async def handle_RCPT(  # noqa: N802 (the name that aiosmtpd calls)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes any recipient, but not any number of them."""
        if len(envelope.rcpt_tos) >= _MAX_RECIPIENTS:
            return "452 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (the name that aiosmtpd calls)
        """Answers 250 once the mail is on the disk."""
        content = envelope.content
        if not isinstance(content, bytes):
            raise TypeError("the sink asks for bytes")
        try:
            path = await asyncio.to_thread(
                self._box.add, envelope.mail_from or "", envelope.rcpt_tos, content
            )
        except OSError as error:
            _LOG.warning("a mail could not be stored: %s", error)
            return "451 Requested action aborted: the mail could not be stored"
        _LOG.info("mail for %s stored as %s", ", ".join(envelope.rcpt_tos), path.name)
        return "250 OK"

    def _protocol(self) -> asyncio.Protocol:
        if len(self._sessions) >= _MAX_CONNECTIONS:
            return _Busy()
        return _Session(self, self._sessions, self._conversing)


class _Session(SMTP):
    """One connection, counted."""

    def __init__(
        self, sink: MailSink, sessions: "set[_Session]", conversing: set[asyncio.Task[None]]
    ) -> None:
        super().__init__(
            sink,
            data_size_limit=MAX_MAIL_BYTES,
            hostname="placet-mailsink",
            ident="Placet mail sink",
            timeout=_IDLE_SECONDS,
            loop=asyncio.get_running_loop(),
        )
        self._sessions = sessions
        self._conversing = conversing

    @functools.wraps(SMTP.smtp_DATA)
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 (the name that aiosmtpd calls)
        """Takes a mail and answers; in a task of its own, so that a stop can wait for the answer."""
        task = asyncio.create_task(super().smtp_DATA(arg))
        self._conversing.add(task)
        task.add_done_callback(self._conversing.discard)
        await task

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._sessions.discard(self)
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Closes the connection; what was answered is with the operating system already."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class _Busy(asyncio.Protocol):
    """What a connection beyond the bound is told."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        if not isinstance(transport, asyncio.WriteTransport):
            raise TypeError("a server's connections can be written to")
        transport.write(b"421 Too many connections, try again later\r\n")
        transport.close()
