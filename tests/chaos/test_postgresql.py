"""The whole stack with its services on PostgreSQL, and PostgreSQL taken away."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from placet.event.v1 import event_pb2
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.databases import OwnPostgres
from placet_testing.stack import ALICE, Stack, a_request, running_test_stack

pytestmark = pytest.mark.integration

SERVICES = ("approval", "audit", "decision", "notification")


def make_databases(server: str) -> dict[str, str]:
    """A database for each service, on one server."""
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in SERVICES:
            connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    own = make_url(server)
    return {name: own.set(database=name).render_as_string(hide_password=False) for name in SERVICES}


async def effective(stack: Stack, approval_id: str, command_id: str) -> bool:
    """Sends a decision; whether it took effect."""
    processed = await stack.processed(approval_id, ALICE, command_id)
    return processed is not None and processed.refusal is None


@pytest.mark.timeout(400)
async def test_5_postgresql_stopped_in_mid_decision_is_unavailable_and_then_there_is_one_record(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    databases = make_databases(own_postgres.url)
    async with running_test_stack(tmp_path, databases=databases) as stack:
        ids = await stack.all_waiting(20, "document", "simple")
        decisions = {approval_id: str(uuid.uuid4()) for approval_id in ids}
        first = asyncio.gather(*(effective(stack, one, decisions[one]) for one in ids))
        await asyncio.to_thread(own_postgres.stop)
        await first
        request = a_request()
        assert await stack.sent(request) is None

        await asyncio.to_thread(own_postgres.start)
        for approval_id in ids:
            decide = partial(effective, stack, approval_id, decisions[approval_id])
            await until(decide, f"{approval_id} is decided", EVENTUALLY)
        late = await until(partial(stack.sent, request), "the request is accepted", EVENTUALLY)
        await stack.waiting(late)
        for approval_id in ids:
            assert (await stack.outcome(approval_id)).state == event_pb2.STATE_APPROVED
            path = Counter(str(event.WhichOneof("body")) for event in await stack.path(approval_id))
            assert (path["received"], path["voted"], path["closed"]) == (1, 1, 1)
