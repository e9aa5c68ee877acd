"""NotificationService as its callers see it: over gRPC, with tokens, on a real mail server."""

import asyncio
import hashlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, event_pb2
from placet.notification.v1 import notification_pb2 as pb
from placet.notification.v1 import notification_service_pb2 as service_pb
from placet.notification.v1 import notification_service_pb2_grpc as service_grpc
from placet_notification.__main__ import assembled
from placet_notification.config import Settings
from placet_rpc import identity
from placet_rpc.client import channel, serving
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from placet_rpc.identity import acting_for
from placet_rpc.server import Endpoint, ServerSettings, start
from placet_rpc.tokens import (
    JWKS_FILE,
    PRIVATE_KEY_FILE,
    SigningKey,
    StaticToken,
    generate_keys,
    mint,
    write_token,
)

# The mail server of conftest, which tests cannot import by name.
PostOffice = Any
APPROVAL = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
CONTENT = b"Pay 4,711 EUR to Example Ltd.\n"


@dataclass
class Neighbours:
    """ApprovalService and AuditService, as far as they are asked."""

    body: bytes = CONTENT
    missing: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    refusals: asyncio.Queue[tuple[str, event_pb2.Event]] = field(default_factory=asyncio.Queue)

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: object
    ) -> approval_service_pb2.GetContentResponse:
        """The content, whatever its digest."""
        who = identity.current()
        self.asked.append((who.subject, who.tenant, request.approval_id))
        if self.missing:
            raise NotFound("no such approval", reason="UNKNOWN_APPROVAL")
        return approval_service_pb2.GetContentResponse(
            content=approval_pb2.Content(body=self.body, media_type="text/plain"),
            text="something else",
            requester="ci@example.com",
        )

    async def AppendEvents(
        self, request: audit_service_pb2.AppendEventsRequest, context: object
    ) -> audit_service_pb2.AppendEventsResponse:
        """Remembers."""
        for event in request.events:
            self.refusals.put_nowait((identity.current().tenant, event))
        return audit_service_pb2.AppendEventsResponse(appended=True)


async def _unasked(self: Neighbours, request: object, context: object) -> None:
    raise AssertionError("NotificationService does not ask this")


async def _unasked_stream(self: Neighbours, request: object, context: object) -> AsyncIterator[None]:
    await _unasked(self, request, context)
    yield None


APPROVAL_SERVICE = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]
AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
for _method in [*APPROVAL_SERVICE.methods, *AUDIT_SERVICE.methods]:
    if not hasattr(Neighbours, _method.name):
        setattr(Neighbours, _method.name, _unasked_stream if _method.server_streaming else _unasked)


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
        """A token for this subject."""
        return mint(SigningKey.load(self.folder / PRIVATE_KEY_FILE), subject, tenant, roles, 600)

    async def stub(
        self, subject: str, *roles: str, tenant: str = "default"
    ) -> service_grpc.NotificationServiceStub:
        """The service, called by this subject."""
        source = StaticToken(self.token(subject, *roles, tenant=tenant))
        opened = await self.closing.enter_async_context(channel(self.address, source, default_timeout=20))
        return service_grpc.NotificationServiceStub(opened)

    async def send(
        self, request: service_pb.SendNotificationRequest, *, tenant: str = "default", timeout: float = 20
    ) -> pb.Delivery:
        """Sends as a worker that acts for the tenant."""
        worker = await self.stub("worker-default", "worker")
        with acting_for(tenant):
            return (await worker.SendNotification(request, timeout=timeout)).delivery


@pytest.fixture
async def surroundings(tmp_path: Path, post_office: PostOffice, unused_tcp_port: int) -> AsyncIterator[Stack]:
    """All but the service itself."""
    generate_keys(tmp_path)
    neighbours = Neighbours()
    endpoints = [
        Endpoint(
            APPROVAL_SERVICE,
            approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server,
            neighbours,
        ),
        Endpoint(
            AUDIT_SERVICE,
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            neighbours,
        ),
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
        write_token(settings.token_file, stack.token("notification", "service"))
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
    request.due.FromJsonString("2030-01-02T03:04:05.678Z")
    request.MergeFrom(service_pb.SendNotificationRequest(**changes))
    return request


async def test_who_is_asked_gets_a_mail_and_the_delivery_says_so(stack: Stack) -> None:
    delivery = await stack.send(asked())
    assert delivery.status == pb.DELIVERY_STATUS_DELIVERED
    assert (delivery.channel, delivery.attempts, delivery.detail) == (pb.CHANNEL_EMAIL, 1, "")
    assert delivery.HasField("deliver_time")
    told = delivery.notification
    assert (told.cursor, told.kind, told.approval_id) == (1, pb.NOTIFICATION_KIND_ASKED, APPROVAL)
    assert told.due.ToJsonString() == "2030-01-02T03:04:05.678Z"
    [mail] = stack.office.mails
    assert mail["Subject"] == "Decision needed: Release payment 4711"
    assert mail["Message-ID"] == f"<{told.id}@example.com>"
    # The bytes that the digest covers, not what was extracted from them.
    assert "> Pay 4,711 EUR to Example Ltd." in mail.get_content()
    assert stack.neighbours.asked == [("notification", "default", APPROVAL)]


async def test_the_same_key_again_gives_the_first_answer(stack: Stack) -> None:
    request = asked()
    first, *others = await asyncio.gather(*(stack.send(request) for _ in range(8)))
    assert all(other == first for other in others)
    assert len(stack.office.mails) == 1


async def test_the_same_key_with_another_payload_is_an_error(stack: Stack) -> None:
    await stack.send(asked("key"))
    with pytest.raises(AlreadyExists) as caught:
        await stack.send(asked("key", title="Release payment 4712"))
    assert (caught.value.reason, caught.value.domain) == ("ID_REUSED", "notification.placet")


async def test_a_mail_server_that_is_away_is_unavailable_and_the_same_call_converges(stack: Stack) -> None:
    stack.office.rcpt_answer = "451 try later"
    with pytest.raises(Unavailable) as caught:
        await stack.send(asked("key"))
    assert caught.value.reason == "CHANNEL_UNAVAILABLE"
    stack.office.rcpt_answer = "250 OK"
    delivery = await stack.send(asked("key"))
    assert (delivery.attempts, delivery.detail) == (2, "451 try later")


async def test_a_recipient_that_is_refused_for_good_fails(stack: Stack) -> None:
    stack.office.rcpt_answer = "550 no such mailbox"
    with pytest.raises(FailedPrecondition) as caught:
        await stack.send(asked("key"))
    assert (caught.value.reason, caught.value.metadata["code"]) == ("RECIPIENT_REFUSED", "550")
    operator = await stack.stub("ops@example.com", "operator")
    [delivery] = (await operator.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries
    assert (delivery.status, delivery.detail) == (pb.DELIVERY_STATUS_FAILED, "550 no such mailbox")


async def test_content_that_cannot_be_had_or_is_not_what_its_digest_says_is_not_shown(stack: Stack) -> None:
    stack.neighbours.missing = True
    with pytest.raises(Unavailable) as caught:
        await stack.send(asked("key"))
    assert caught.value.reason == "CONTENT_UNAVAILABLE"
    stack.neighbours.missing = False
    stack.neighbours.body = b"Pay 9,999 EUR to Eve.\n"
    with pytest.raises(Unavailable, match="other content than the digest names") as caught:
        await stack.send(asked("key"))
    assert caught.value.reason == "CONTENT_UNAVAILABLE"
    assert stack.office.mails == []


async def test_a_slow_mail_server_is_told_while_there_is_time(stack: Stack) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stack.office.before_answer = lambda server: never
    with pytest.raises(Unavailable, match="did not answer within"):
        await stack.send(asked(), timeout=1)
    never.cancel()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": pb.NOTIFICATION_KIND_OUTCOME}, "state"),
        ({"state": event_pb2.STATE_APPROVED}, "state"),
        ({"recipient": "a\r\nBcc: eve@example.com"}, "recipient"),
        ({"approval_id": "no id"}, "approval_id"),
    ],
)
async def test_a_wrong_request_is_refused_by_field(stack: Stack, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await stack.send(asked(**changes))
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_a_due_time_that_does_not_exist_is_refused(stack: Stack) -> None:
    request = asked()
    request.due.seconds = 2**60
    with pytest.raises(InvalidArgument):
        await stack.send(request)


async def test_deliveries_are_listed_in_pages_and_looked_up(stack: Stack) -> None:
    sent = [await stack.send(asked(recipient=f"program-{number}")) for number in range(5)]
    operator = await stack.stub("ops@example.com", "operator")
    listed: list[pb.Delivery] = []
    token, pages = "", 0
    while not pages or token:
        request = service_pb.ListDeliveriesRequest(page_size=2, page_token=token, approval_id=APPROVAL)
        answer = await operator.ListDeliveries(request)
        listed += answer.deliveries
        token, pages = answer.next_page_token, pages + 1
    assert (listed, pages) == (sent[::-1], 3)
    one = await operator.GetDelivery(service_pb.GetDeliveryRequest(id=sent[2].notification.id))
    assert one.delivery == sent[2]
    with pytest.raises(NotFound) as caught:
        await operator.GetDelivery(service_pb.GetDeliveryRequest(id=str(uuid.uuid4())))
    assert caught.value.reason == "UNKNOWN_DELIVERY"


async def test_a_page_token_from_elsewhere_is_refused(stack: Stack) -> None:
    for number in range(3):
        await stack.send(asked(recipient=f"program-{number}"))
    operator = await stack.stub("ops@example.com", "operator")
    page = await operator.ListDeliveries(service_pb.ListDeliveriesRequest(page_size=1))
    for token, approval_id in ((page.next_page_token, APPROVAL), ("forged", ""), ("!", "")):
        with pytest.raises(InvalidArgument) as caught:
            await operator.ListDeliveries(
                service_pb.ListDeliveriesRequest(page_token=token, approval_id=approval_id)
            )
        assert caught.value.violations[0].field == "page_token"


async def test_tenants_see_nothing_of_each_other(stack: Stack) -> None:
    delivery = await stack.send(asked(), tenant="other")
    ours = await stack.stub("ops@example.com", "operator")
    theirs = await stack.stub("ops@example.com", "operator", tenant="other")
    assert not (await ours.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries
    assert len((await theirs.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries) == 1
    with pytest.raises(NotFound):
        await ours.GetDelivery(service_pb.GetDeliveryRequest(id=delivery.notification.id))
    assert stack.neighbours.asked[0][1] == "other"


async def test_each_sees_the_part_of_the_stream_that_concerns_them(stack: Stack) -> None:
    for recipient in ("alice@example.com", "bob@example.com", "program"):
        await stack.send(asked(recipient=recipient))
    expected = {
        ("alice@example.com", "approver"): [1],
        ("bob@example.com", "requester"): [2],
        ("program", "requester"): [3],
        ("carol@example.com", "approver"): [],
        ("ops@example.com", "operator"): [1, 2, 3],
        ("approval", "service"): [1, 2, 3],
    }
    for (subject, role), cursors in expected.items():
        subscriber = await stack.stub(subject, role)
        with acting_for("default"):
            call = subscriber.Subscribe(service_pb.SubscribeRequest())
        seen = []
        async with asyncio.timeout(10):
            async for response in call:
                if not response.HasField("notification"):
                    assert response.cursor == 3
                    break
                seen.append(response.cursor)
        call.cancel()
        assert seen == cursors, subject


async def test_a_subscriber_is_told_at_once(stack: Stack) -> None:
    subscriber = await stack.stub("alice@example.com", "approver")
    call = subscriber.Subscribe(service_pb.SubscribeRequest())
    async with asyncio.timeout(10):
        assert not (await anext(aiter(call))).HasField("notification")
        await stack.send(asked())
        assert (await anext(aiter(call))).notification.title == "Release payment 4711"
    call.cancel()


async def test_who_may_not_is_refused_and_the_refusal_is_recorded(stack: Stack) -> None:
    approver = await stack.stub("alice@example.com", "approver")
    with pytest.raises(PermissionDenied):
        await approver.SendNotification(asked())
    tenant, event = await asyncio.wait_for(stack.neighbours.refusals.get(), 10)
    assert tenant == "default"
    assert event.actor.name.value == "alice@example.com"
    assert event.access_refused.method == "/placet.notification.v1.NotificationService/SendNotification"
    assert event.access_refused.approval_id == APPROVAL
    assert stack.office.mails == []


# As a process.


@asynccontextmanager
async def process(surroundings: Stack) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m placet_notification`, answering."""
    settings = surroundings.settings
    environment = {
        "PATH": os.environ["PATH"],
        "PLACET_NOTIFICATION_LISTEN": settings.listen,
        "PLACET_NOTIFICATION_DATABASE_URL": settings.database_url,
        "PLACET_NOTIFICATION_SMTP_PORT": str(settings.smtp_port),
        "PLACET_NOTIFICATION_MAIL_FROM": settings.mail_from,
        "PLACET_JWKS_FILE": str(settings.jwks_file),
        "PLACET_TOKEN_FILE": str(settings.token_file),
        "PLACET_APPROVAL_ADDRESS": settings.approval_address,
        "PLACET_AUDIT_ADDRESS": settings.audit_address,
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_notification", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while not await serving(settings.listen):
                assert running.returncode is None, await running.communicate()
                await asyncio.sleep(0.05)
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def test_a_mail_under_way_is_finished_and_recorded_before_the_process_ends(
    surroundings: Stack,
) -> None:
    begun, answer = asyncio.Event(), asyncio.get_running_loop().create_future()

    def wait(server: object) -> asyncio.Future[None]:
        begun.set()
        return answer

    surroundings.office.before_answer = wait
    async with process(surroundings) as running:
        sending = asyncio.create_task(surroundings.send(asked("key")))
        await asyncio.wait_for(begun.wait(), 20)
        running.send_signal(signal.SIGTERM)
        answer.set_result(None)
        assert (await sending).status == pb.DELIVERY_STATUS_DELIVERED
        _, errors = await asyncio.wait_for(running.communicate(), 30)
        assert running.returncode == 0, errors
        assert b"Traceback" not in errors


async def test_a_crash_after_the_mail_was_taken_sends_the_same_mail_again_and_tells_of_it_once(
    surroundings: Stack,
) -> None:
    async with process(surroundings) as running:
        surroundings.office.before_answer = lambda server: running.kill()
        with pytest.raises(Unavailable):
            await surroundings.send(asked("key"), timeout=2)
    surroundings.office.before_answer = lambda server: None
    async with process(surroundings):
        # The crashed attempt's lease runs out, bounded by the time that its caller gave it.
        delivery = await surroundings.send(asked("key"), timeout=30)
        assert (delivery.status, delivery.attempts) == (pb.DELIVERY_STATUS_DELIVERED, 2)
        assert delivery.notification.cursor == 1
        operator = await surroundings.stub("ops@example.com", "operator")
        assert len((await operator.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries) == 1
    first, second = surroundings.office.mails
    assert first["Message-ID"] == second["Message-ID"] == f"<{delivery.notification.id}@example.com>"
    assert first.as_bytes() == second.as_bytes()


async def test_a_process_that_cannot_start_says_why_without_a_stack_trace(surroundings: Stack) -> None:
    environment = {"PATH": os.environ["PATH"], "PLACET_NOTIFICATION_MAIL_FROM": "nobody"}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_notification", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 1
    assert b"PLACET_NOTIFICATION_MAIL_FROM" in errors
    assert b"Traceback" not in errors
