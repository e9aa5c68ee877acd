"""Connections to one mail server, which are used again for a while."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import aiosmtplib

_QUIT_SECONDS = 1.0
# What aiosmtplib raises for an answer, and what it and the loop raise for none.
Answered = aiosmtplib.SMTPResponseException
BrokenOff = (aiosmtplib.SMTPException, OSError)


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


@dataclass(eq=False)
class _Idle:
    client: aiosmtplib.SMTP
    # Whether a refusal left the last mail's envelope behind.
    half_done: bool
    expiry: asyncio.TimerHandle | None = None

    def cancel_expiry(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()


class Connections:
    """Hands out connections on which a mail has been begun (MAIL was taken), and keeps sound ones.

    One that has been idle for `idle_seconds` says goodbye, so that it does not keep a place at the server.
    """

    def __init__(self, server: MailServer, *, sender: str, hello: str, idle_seconds: float) -> None:
        """`hello`: what we call ourselves in EHLO."""
        self._server = server
        self._sender = sender
        self._hello = hello
        self._idle_seconds = idle_seconds
        self._tls = None
        if server.security is not Security.NONE:
            self._tls = ssl.create_default_context(cafile=server.ca_file)
        self._idle: list[_Idle] = []
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def begun(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection on which the server has taken MAIL. It is used again unless the block breaks it off.

        Raises what aiosmtplib and the loop raise; Answered means that the server refused.
        """
        client = await self._begun_again() or await self._begun_anew()
        try:
            yield client
        except Answered:
            self._keep(client, half_done=True)
            raise
        except BaseException:
            # Broken off in the middle, by whatever: its state is unknown.
            client.close()
            raise
        self._keep(client, half_done=False)

    async def close(self) -> None:
        """Says goodbye on all idle connections, briefly."""
        for idle in list(self._idle):
            self._leave(idle)
        await asyncio.gather(*self._leaving)

    async def _begun_again(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            idle = self._idle.pop()
            idle.cancel_expiry()
            try:
                if idle.half_done:
                    await _reset(idle.client)
                return await self._begin(idle.client)
            except Answered:
                # Servers close what was idle, some with a word (421), and then aiosmtplib closes, too.
                if idle.client.is_connected:
                    raise
            except BrokenOff:
                pass  # Nothing has been handed over on it yet, so another one is safe.
        return None

    async def _begun_anew(self) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=self._tls,
            username=server.username,
            password=server.password,
            local_hostname=self._hello,
            timeout=None,  # The whole conversation is bounded by whoever holds it.
        )
        await client.connect()
        return await self._begin(client)

    async def _begin(self, client: aiosmtplib.SMTP) -> aiosmtplib.SMTP:
        try:
            await client.mail(self._sender)
        except Answered:
            self._keep(client, half_done=False)
            raise
        except BaseException:
            client.close()
            raise
        return client

    def _keep(self, client: aiosmtplib.SMTP, *, half_done: bool) -> None:
        if not client.is_connected:
            return
        idle = _Idle(client, half_done)
        idle.expiry = asyncio.get_running_loop().call_later(self._idle_seconds, self._leave, idle)
        self._idle.append(idle)

    def _leave(self, idle: _Idle) -> None:
        self._idle.remove(idle)
        idle.cancel_expiry()
        goodbye = asyncio.get_running_loop().create_task(_goodbye(idle.client))
        self._leaving.add(goodbye)
        goodbye.add_done_callback(self._leaving.discard)


async def _reset(client: aiosmtplib.SMTP) -> None:
    try:
        await client.rset()
    except BaseException:
        client.close()
        raise


async def _goodbye(client: aiosmtplib.SMTP) -> None:
    try:
        await client.quit(timeout=_QUIT_SECONDS)
    except BrokenOff:
        client.close()  # Gone already, which is what was wanted.
