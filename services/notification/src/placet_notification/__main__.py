"""NotificationService as a process: notifies people of requests and outcomes."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

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
from placet_rpc.access_refusals import RefusalRecorder, appending_to
from placet_rpc.client import channel
from placet_rpc.server import Endpoint
from placet_rpc.service import Service, run_service
from placet_rpc.tasks import periodically
from placet_rpc.tokens.sources import FileTokenSource
from placet_storage import PURGE_SECONDS, Database, DatabaseUnavailable, MigrationFailed, purge_expired
from placet_telemetry import setup


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
        purge = partial(purge_expired, store.purge, timedelta(days=settings.keep_days))
        await stack.enter_async_context(periodically(purge, PURGE_SECONDS, "deleting old rows waits on"))
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
        refusals = RefusalRecorder(append, program="notification", per_minute=settings.refusals_per_minute)
        endpoint = Endpoint(
            notification_service_pb2.DESCRIPTOR.services_by_name["NotificationService"],
            notification_service_pb2_grpc.add_NotificationServiceServicer_to_server,
            NotificationServicer(store, sender, stream),
        )
        yield Service(endpoint, refusals.record)


def main() -> int:
    """The exit status; see `run_service`."""
    return run_service(
        "NotificationService",
        Settings,
        assembled,
        telemetry=partial(setup, "notification"),
        about=__doc__,
        explained=(DatabaseUnavailable, MigrationFailed),
    )


if __name__ == "__main__":
    sys.exit(main())
