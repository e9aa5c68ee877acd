"""`python -m placet_notification`: NotificationService as a process. Wiring only."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from placet.approval.v1 import approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2_grpc
from placet.notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from placet_logtail import LiveStream
from placet_notification.channels import DeliveryChannel, LogChannel
from placet_notification.config import Settings
from placet_notification.content import ApprovalContent
from placet_notification.domain import Channel
from placet_notification.sender import Sender
from placet_notification.servicer import NotificationServicer
from placet_notification.smtp import EmailChannel
from placet_notification.store import Store
from placet_rpc.client import channel
from placet_rpc.refusals import OnAccessRefused, RefusalRecorder, appending_to
from placet_rpc.server import CannotListen, Endpoint, serve
from placet_rpc.tokens.sources import FileTokenSource
from placet_storage import Database, DatabaseUnavailable, MigrationFailed, purge_periodically
from placet_telemetry import log, setup

_LOG = log(__name__)


@dataclass(frozen=True)
class Service:
    """The parameters of the server."""

    endpoint: Endpoint
    on_access_refused: OnAccessRefused


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Service]:
    """Assembles the service. At the end attempts under way are recorded first; the database closes last."""
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url, migrations="placet_notification")
        stack.push_async_callback(database.close)
        tokens = FileTokenSource(settings.token_file)
        approval, audit = [
            await stack.enter_async_context(channel(address, tokens, tls=settings.tls()))
            for address in (settings.approval_address, settings.audit_address)
        ]
        store = Store(database)
        await stack.enter_async_context(purge_periodically(store.purge, timedelta(days=settings.keep_days)))
        stream = LiveStream(store, sign_of_life=settings.sign_of_life, poll=settings.stream_poll)
        await stack.enter_async_context(stream)
        email = EmailChannel(
            settings.mail_server(),
            sender=settings.mail_from,
            connections=settings.smtp_connections,
        )
        stack.push_async_callback(email.close)
        contents = ApprovalContent(approval_service_pb2_grpc.ApprovalServiceStub(approval))
        channels: dict[Channel, DeliveryChannel] = {Channel.EMAIL: email, Channel.LOG: LogChannel()}
        sender = Sender(
            store,
            channels,
            contents,
            stream.wake,
            attempt_seconds=settings.attempt_seconds,
            max_attempts=settings.attempts,
        )
        stack.push_async_callback(sender.close)
        append = appending_to(audit_service_pb2_grpc.AuditServiceStub(audit))
        refusals = RefusalRecorder(append, per_minute=settings.refusals_per_minute)
        endpoint = Endpoint(
            notification_service_pb2.DESCRIPTOR.services_by_name["NotificationService"],
            notification_service_pb2_grpc.add_NotificationServiceServicer_to_server,
            NotificationServicer(store, sender, stream),
        )
        yield Service(endpoint, refusals.record)


async def run(settings: Settings) -> None:
    """Serves until a signal; the server stops first."""
    async with assembled(settings) as service:
        await serve(settings.server(), [service.endpoint], on_access_refused=service.on_access_refused)


def main() -> int:
    """Returns the exit status: 0 after a signal, 1 if it cannot run; then the log says why."""
    telemetry = setup("notification")
    try:
        asyncio.run(run(Settings()))
    except (CannotListen, DatabaseUnavailable, MigrationFailed, OSError, ValueError) as error:
        _LOG.error(f"NotificationService cannot run: {error}")
        return 1
    else:
        return 0
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    sys.exit(main())
