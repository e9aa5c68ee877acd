"""NotificationService's parts on real databases, with mail servers that behave as told."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from placet_notification.content import ContentUnavailable
from placet_notification.domain import Content, Kind, Payload
from placet_notification.store import Store
from placet_storage import Database

CONTENT = b"Pay 4,711 EUR to Example Ltd.\n"
MakePayload = Callable[..., Payload]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The deliveries' database, on SQLite and then on PostgreSQL."""
    database = await Database.open(database_url, migrations="placet_notification")
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> Store:
    """The store on that database."""
    return Store(database)


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """A store for tests that are not about databases."""
    database = await Database.open(sqlite_url, migrations="placet_notification")
    yield Store(database)
    await database.close()


@pytest.fixture
def make_payload() -> MakePayload:
    """Alice is asked, unless told otherwise."""

    def make(**changes: object) -> Payload:
        payload = Payload(
            kind=Kind.ASKED,
            approval_id="0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001",
            content_digest=hashlib.sha256(CONTENT).digest(),
            recipient="alice@example.com",
            title="Release payment 4711",
            subject_id="invoice-4711",
            reason="required approver",
            tier=1,
            due=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            state=None,
            approver="",
        )
        return replace(payload, **changes)  # type: ignore[arg-type]  # a test's shorthand

    return make


@pytest.fixture
def key() -> str:
    """A fresh idempotency key."""
    return f"{uuid.uuid4()}/asked/4"


@dataclass
class Contents:
    """ApprovalService's content, or its absence."""

    content: Content | None = field(
        default_factory=lambda: Content(text=CONTENT.decode(), requester="ci@example.com", extracted=False)
    )
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def fetch(self, tenant: str, approval_id: str, digest: bytes, *, within: float) -> Content:
        """See ContentSource."""
        self.asked.append((tenant, approval_id, digest))
        if self.content is None:
            raise ContentUnavailable("ApprovalService is away")
        return self.content


@pytest.fixture
def contents() -> Contents:
    """Content that can be had."""
    return Contents()


@dataclass
class PostOffice:
    """A real SMTP server that answers as told and remembers what it took."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str | None, tuple[str, ...]]] = field(default_factory=list)
    connections: int = 0
    rcpt_answer: str = "250 OK"
    mail_answer: str = "250 OK"
    data_answer: str = "250 OK"
    # What happens before a mail's data is answered.
    before_answer: Callable[[SMTP], "asyncio.Future[None] | None"] = lambda server: None
    protocols: list[SMTP] = field(default_factory=list)

    def protocol(self, **options: Any) -> SMTP:  # Any: aiosmtpd's own options
        """A connection."""
        self.connections += 1
        protocol = SMTP(self, hostname="post-office", loop=asyncio.get_running_loop(), **options)
        self.protocols.append(protocol)
        return protocol

    def hang_up(self) -> None:
        """Drops all connections."""
        for protocol in self.protocols:
            if isinstance(protocol.transport, asyncio.WriteTransport):
                protocol.transport.abort()

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Judges the sender."""
        envelope.mail_from = address
        return self.mail_answer

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Judges the recipient."""
        if self.rcpt_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt_answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Takes a mail, or not."""
        if self.data_answer.startswith("250"):
            content = envelope.original_content
            assert content is not None
            self.mails.append(message_from_bytes(content, policy=default))
            self.envelopes.append((envelope.mail_from, tuple(envelope.rcpt_tos)))
        waiting = self.before_answer(server)
        if waiting is not None:
            await waiting
        return self.data_answer


@pytest.fixture
async def post_office() -> AsyncIterator[PostOffice]:
    """A mail server on a free port."""
    office = PostOffice()
    server = await asyncio.get_running_loop().create_server(office.protocol, "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    yield office
    server.close()
    office.hang_up()
    await server.wait_closed()
