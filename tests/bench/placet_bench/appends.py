"""Audit appends over gRPC, each durable when it is answered: alone, and at 200 a second."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from pathlib import Path

from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_bench.figures import Figure, Report, at_most, percentile
from placet_bench.setting import Setting
from placet_cli.identity import signing_key
from placet_rpc.client import channel
from placet_rpc.identity import acting_for
from placet_rpc.tokens.mint import mint_for_program
from placet_testing.tokens import StaticToken

RATE = 200
# A log of its own, which no projection follows.
LOG = "bench-appends"


async def measure(setting: Setting) -> Report:
    """Beside it, what one fdatasync of 4 KB costs on this disk: nothing durable is faster."""
    stack = (await setting.shared()).stack
    seconds = 3 if setting.quick else 15
    bare = await asyncio.to_thread(fdatasyncs, setting.folder / "fdatasync", 50 if setting.quick else 200)
    tokens = StaticToken(mint_for_program(signing_key(stack.home), "approval", LOG, 3600))
    async with channel(stack.ports.address("audit"), tokens) as opened:
        audit = AuditServiceStub(opened)
        with acting_for(LOG):
            await _alone(audit, 20)
            alone = await _alone(audit, 30 * seconds)
            loaded = await _at_rate(audit, RATE * seconds)
    setting.say("appends: done")
    floor = percentile(bare, 0.5)
    return Report(
        (
            Figure("bare fdatasync of 4 KB on this disk, p50", floor, "ms"),
            Figure("bare fdatasync of 4 KB on this disk, p99", percentile(bare, 0.99), "ms"),
            Figure("audit append with fsync, alone, p50", percentile(alone, 0.5), "ms"),
            Figure("audit append with fsync, alone, p99", percentile(alone, 0.99), "ms", target=at_most(20)),
            Figure(f"audit append with fsync, {RATE}/s, p50", percentile(loaded, 0.5), "ms"),
            Figure(
                f"audit append with fsync, {RATE}/s, p99", percentile(loaded, 0.99), "ms", target=at_most(20)
            ),
        )
    )


async def _alone(audit: AuditServiceStub, times: int) -> list[float]:
    return [await _append(audit, time.perf_counter()) for _ in range(times)]


async def _at_rate(audit: AuditServiceStub, times: int) -> list[float]:
    """An open load: each append has its time, and one that begins late has waited."""
    start = time.perf_counter() + 0.1

    async def in_turn(number: int) -> float:
        due = start + number / RATE
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        return await _append(audit, due)

    return list(await asyncio.gather(*(in_turn(number) for number in range(times))))


async def _append(audit: AuditServiceStub, due: float) -> float:
    """Milliseconds from `due` until a request's first event is durable."""
    event = event_pb2.Event(
        actor=event_pb2.Actor(
            kind=event_pb2.ACTOR_KIND_SERVICE, name=event_pb2.Erasable(value="bench"), authenticated_by="jwt"
        ),
        cause_id=str(uuid.uuid4()),
        received=event_pb2.Received(
            kind=event_pb2.REQUEST_KIND_APPROVAL,
            title=event_pb2.Erasable(value="Release the payment"),
            policy="simple",
            policy_version=1,
            policy_digest=bytes(32),
            content_digest=bytes(32),
            content_size=70,
            media_type="text/plain",
            assignments=[
                event_pb2.Assignment(
                    slot="required_approver", people=[event_pb2.Erasable(value="alice@example.com")]
                )
            ],
            clock_scale=1,
        ),
    )
    event.time.GetCurrentTime()
    request = audit_service_pb2.AppendEventsRequest(
        approval_id=str(uuid.uuid4()), expected_next=1, events=[event]
    )
    await audit.AppendEvents(request)
    return 1000 * (time.perf_counter() - due)


def fdatasyncs(path: Path, times: int) -> list[float]:
    """Milliseconds of appending 4 KB to a file and syncing it."""
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(1000 * (time.perf_counter() - begun))
    return taken
