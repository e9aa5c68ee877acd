"""NotificationService's parts on real databases, and all of it, with mail servers that behave as told."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_pb2 as pb
from placet.notification.v1 import notification_service_pb2 as service_pb
from placet.notification.v1 import notification_service_pb2_grpc as service_grpc
from placet_notification.__main__ import assembled
from placet_notification.channels import DeliveryChannel, FetchContent, LogChannel
from placet_notification.config import Settings
from placet_notification.content import ContentUnavailable
from placet_notification.domain import Channel, Content, Kind, Notification, Payload
from placet_notification.sender import Sender
from placet_notification.store import Store
from placet_rpc import identity
from placet_rpc.client import channel
from placet_rpc.errors import NotFound
from placet_rpc.identity import acting_for
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import (
    JWKS_FILE,
    PRIVATE_KEY_FILE,
    SigningKey,
    generate_keys,
    mint,
    mint_for_program,
    write_token,
)
from placet_storage import Database
from placet_testing.servicers import partial_servicer
from placet_testing.tokens import StaticToken

APPROVAL = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
CONTENT = b"Pay 4,711 EUR to Example Ltd.\n"
APPROVAL_SERVICE = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]
AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
MakePayload = Callable[..., Payload]
MakeSender = Callable[..., Sender]


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
            approval_id=APPROVAL,
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
def asked(make_payload: MakePayload) -> Notification:
    """Alice's notification."""
    return Notification(id="one", cursor=1, create_time=datetime.now(UTC), payload=make_payload())


@pytest.fixture
def key() -> str:
    """A fresh idempotency key."""
    return f"{uuid.uuid4()}/asked/4"


@dataclass
class Contents:
    """ApprovalService's content, or its absence."""

    content: Content | None = field(
        default_factory=lambda: Content(
            text=CONTENT.decode(), requester="ci@example.com", extracted=False, unread=()
        )
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
class Mailbox:
    """An e-mail channel in memory. `verdicts` are raised one after the other; then it takes everything."""

    verdicts: list[Exception] = field(default_factory=list)
    taken: list[tuple[Notification, Content | None]] = field(default_factory=list)
    attempts: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    # Time given to the last attempt, in seconds.
    within: float = 0.0

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """See DeliveryChannel."""
        shown = await content()
        self.attempts += 1
        self.within = within
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.verdicts:
            raise self.verdicts.pop(0)
        self.taken.append((notification, shown))


@pytest.fixture
def mailbox() -> Mailbox:
    """A channel that takes everything."""
    return Mailbox()


@pytest.fixture
def make_sender(mailbox: Mailbox, contents: Contents) -> MakeSender:
    """Senders on the store that is told, with the mailbox and contents of the test."""

    def make(store: Store, **options: Any) -> Sender:  # Any: the sender's own options
        channels: dict[Channel, DeliveryChannel] = {Channel.EMAIL: mailbox, Channel.LOG: LogChannel()}
        return Sender(store, channels, contents, lambda tenant: None, **options)

    return make


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
    # Said once instead of an answer to MAIL, before hanging up.
    last_words: str = ""
    # Set when somebody said goodbye.
    left: asyncio.Event = field(default_factory=asyncio.Event)
    # Hook before a mail's data is answered.
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
        """Takes the sender or not, or hangs up with a word."""
        if self.last_words:
            said, self.last_words = self.last_words, ""
            await server.push(said)
            assert server.transport is not None
            server.transport.close()
            return said
        envelope.mail_from = address
        return self.mail_answer

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Sees somebody off."""
        self.left.set()
        return "221 Bye"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accepts or refuses the recipient."""
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


@partial_servicer(APPROVAL_SERVICE)
@partial_servicer(AUDIT_SERVICE)
@dataclass
class Neighbours:
    """ApprovalService and AuditService, as far as they are asked."""

    body: bytes = CONTENT
    missing: bool = False
    warnings: list[approval_service_pb2.TextWarning] = field(default_factory=list)
    gate: asyncio.Event | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refusals: asyncio.Queue[tuple[str, event_pb2.Event]] = field(default_factory=asyncio.Queue)

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: object
    ) -> approval_service_pb2.GetContentResponse:
        """The content, whatever its digest."""
        who = identity.current()
        self.asked.append((who.subject, who.tenant, request.approval_id))
        if self.gate is not None:
            await self.gate.wait()
        if self.missing:
            raise NotFound("no such approval", reason="UNKNOWN_APPROVAL")
        return approval_service_pb2.GetContentResponse(
            content=approval_pb2.Content(body=self.body, media_type="text/plain"),
            text="something else",
            requester="ci@example.com",
            warnings=self.warnings,
        )

    async def AppendEvents(
        self, request: audit_service_pb2.AppendEventsRequest, context: object
    ) -> audit_service_pb2.AppendEventsResponse:
        for event in request.events:
            self.refusals.put_nowait((identity.current().tenant, event))
        return audit_service_pb2.AppendEventsResponse(appended=True)


@dataclass
class Stack:
    """The service's address, its neighbours, and tokens for its callers."""

    folder: Path
    settings: Settings
    address: str
    neighbours: Neighbours
    office: PostOffice
    closing: AsyncExitStack

    def token(self, subject: str, *roles: str, tenant: str = "default") -> str:
        """A token of a program of Placet for whatever tenant; with roles, of that caller."""
        key = SigningKey.load(self.folder / PRIVATE_KEY_FILE)
        if not roles:
            return mint_for_program(key, subject, tenant, 600, tenants=["*"])
        return mint(key, subject, tenant, roles, 600)

    async def stub(
        self, subject: str, *roles: str, tenant: str = "default"
    ) -> service_grpc.NotificationServiceStub:
        """The service, called by this subject."""
        source = StaticToken(self.token(subject, *roles, tenant=tenant))
        opened = await self.closing.enter_async_context(channel(self.address, source, default_timeout=20))
        return service_grpc.NotificationServiceStub(opened)

    @staticmethod
    def asked(key: str = "", **changes: Any) -> service_pb.SendNotificationRequest:
        """Alice is asked, unless told otherwise."""
        request = service_pb.SendNotificationRequest(
            idempotency_key=key or str(uuid.uuid4()),
            kind=pb.NOTIFICATION_KIND_ASKED,
            approval_id=APPROVAL,
            content_digest=hashlib.sha256(CONTENT).digest(),
            recipient="alice@example.com",
            title="Release payment 4711",
            subject_id="invoice-4711",
            reason="required approver",
            tier=1,
        )
        request.due_time.FromJsonString("2030-01-02T03:04:05.678Z")
        request.MergeFrom(service_pb.SendNotificationRequest(**changes))
        return request

    async def send(
        self, request: service_pb.SendNotificationRequest, *, tenant: str = "default", timeout: float = 20
    ) -> pb.Delivery:
        """Sends as a worker that acts for the tenant."""
        worker = await self.stub("worker-default")
        with acting_for(tenant):
            return (await worker.SendNotification(request, timeout=timeout)).delivery


@pytest.fixture
async def surroundings(tmp_path: Path, post_office: PostOffice, unused_tcp_port: int) -> AsyncIterator[Stack]:
    """All but the service itself."""
    generate_keys(tmp_path)
    neighbours = Neighbours()
    to_approval = approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server
    to_audit = audit_service_pb2_grpc.add_AuditServiceServicer_to_server
    endpoints = [
        Endpoint(APPROVAL_SERVICE, to_approval, neighbours),
        Endpoint(AUDIT_SERVICE, to_audit, neighbours),
    ]
    server = await start(ServerSettings(listen="127.0.0.1:0", jwks_file=tmp_path / JWKS_FILE), endpoints)
    settings = Settings(
        listen=f"127.0.0.1:{unused_tcp_port}",
        jwks_file=tmp_path / JWKS_FILE,
        token_file=tmp_path / "token",
        approval_address=f"127.0.0.1:{server.port}",
        audit_address=f"127.0.0.1:{server.port}",
        database_url=f"sqlite:///{tmp_path / 'notification.db'}",
        smtp_port=post_office.port,
        mail_from="placet@example.com",
    )
    async with AsyncExitStack() as closing:
        stack = Stack(tmp_path, settings, settings.listen, neighbours, post_office, closing)
        write_token(settings.token_file, stack.token("notification"))
        yield stack
    await server.stop(0)


@pytest.fixture
async def stack(surroundings: Stack) -> AsyncIterator[Stack]:
    """The service in this process."""
    async with assembled(surroundings.settings) as service:
        server = await start(
            surroundings.settings.server(), [service.endpoint], on_access_refused=service.on_access_refused
        )
        yield surroundings
        await server.stop(0)
