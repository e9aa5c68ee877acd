"""NotificationService as a process: it ends with nothing left undone, and begins where it was killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from placet.notification.v1 import notification_pb2 as pb
from placet.notification.v1 import notification_service_pb2 as service_pb
from placet_rpc.client import serving
from placet_rpc.errors import Unavailable
from placet_rpc.program import REFUSED

pytestmark = pytest.mark.integration

# Types of conftest, which tests cannot import by name.
Stack = Any


@asynccontextmanager
async def process(surroundings: Stack) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m placet_notification`, answering."""
    settings = surroundings.settings
    environment = {
        "PATH": os.environ["PATH"],
        "PLACET_NOTIFICATION_ATTEMPT_SECONDS": "2",
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
        sending = asyncio.create_task(surroundings.send(surroundings.asked("key")))
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
            await surroundings.send(surroundings.asked("key"), timeout=2)
    surroundings.office.before_answer = lambda server: None
    async with process(surroundings):
        # The crashed attempt's lease runs out, bounded by the time that an attempt may take.
        delivery = await surroundings.send(surroundings.asked("key"), timeout=30)
        assert (delivery.status, delivery.attempts) == (pb.DELIVERY_STATUS_DELIVERED, 2)
        assert delivery.notification.cursor == 1
        operator = await surroundings.stub("ops@example.com", "operator")
        assert len((await operator.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries) == 1
    first, second = surroundings.office.mails
    assert (
        first["Message-ID"]
        == second["Message-ID"]
        == f"<{delivery.notification.notification_id}@example.com>"
    )
    assert first.as_bytes() == second.as_bytes()


async def test_a_process_that_cannot_start_says_why_without_a_stack_trace(surroundings: Stack) -> None:
    environment = {"PATH": os.environ["PATH"], "PLACET_NOTIFICATION_MAIL_FROM": "nobody"}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_notification", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == REFUSED
    assert b"PLACET_NOTIFICATION_MAIL_FROM" in errors
    assert b"Traceback" not in errors
