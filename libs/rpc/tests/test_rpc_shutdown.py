"""A stop loses nothing: health first, calls in flight to their end, then handlers, then what they use."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc import calls, errors
from placet_rpc.client import channel, serving
from placet_rpc.server import CannotListen, Endpoint, RunningServer, serve
from placet_testing.conditions import EVENTUALLY
from placet_testing.servicers import partial_servicer

pytestmark = pytest.mark.integration

AUDIT = pb.DESCRIPTOR.services_by_name["AuditService"]


@partial_servicer(AUDIT)
class Audit(audit_service_pb2_grpc.AuditServiceServicer):
    """Notes the order in which things happen."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.begun = asyncio.Event()
        self.release = asyncio.Event()

    async def AppendEvents(self, request: Any, context: Any) -> Any:
        """A call that outlasts the grace, with something to do in its `finally`."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(asyncio.sleep(0.05))
            self.happened.append("finally")

    async def ListEvents(self, request: Any, context: Any) -> pb.ListEventsResponse:
        self.begun.set()
        await self.release.wait()
        self.happened.append("answered")
        return pb.ListEventsResponse(size=1)

    async def TailEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield pb.TailEventsResponse(size=1)
                self.begun.set()
                await asyncio.Event().wait()
        finally:
            self.happened.append("stream ended")


class Process:
    """`serve` as a process would run it, and the way to stop it."""

    def __init__(self, servicer: Audit, settings: Any, **options: Any) -> None:
        self.servicer = servicer
        self._ready: asyncio.Future[RunningServer] = asyncio.get_running_loop().create_future()

        async def close(name: str) -> None:
            servicer.happened.append(name)

        endpoint = Endpoint(
            AUDIT,
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            servicer,
        )

        async def run() -> None:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(close, "telemetry flushed")
                stack.push_async_callback(close, "channels closed")
                await serve(settings, [endpoint], ready=self._ready.set_result, **options)

        self.task = asyncio.create_task(run())

    async def address(self) -> str:
        server = await asyncio.wait_for(self._ready, 10)
        return f"127.0.0.1:{server.port}"

    def terminate(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    async def ended(self) -> None:
        await asyncio.wait_for(self.task, 20)


async def test_a_stop_goes_in_its_order_and_fails_no_call_in_flight(settings: Any, keys: Any) -> None:
    servicer = Audit()
    process = Process(servicer, settings(grace=10))
    address = await process.address()
    async with (
        channel(address, keys.token("auditor")) as client,
        grpc.aio.insecure_channel(address) as prober,
    ):
        health = health_pb2_grpc.HealthStub(prober).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        in_flight = asyncio.ensure_future(
            audit_service_pb2_grpc.AuditServiceStub(client).ListEvents(pb.ListEventsRequest())
        )
        await asyncio.wait_for(servicer.begun.wait(), 10)

        process.terminate()
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        servicer.happened.append("health says no")
        servicer.release.set()

        assert (await in_flight).size == 1
        await process.ended()

    assert servicer.happened == ["health says no", "answered", "channels closed", "telemetry flushed"]


async def test_what_is_there_at_the_start_is_out_of_the_collectors_way_until_the_end(settings: Any) -> None:
    process = Process(Audit(), settings())
    await process.address()
    # All modules, at least: looking at them again would stop every call for tens of milliseconds.
    assert gc.get_freeze_count() > 10_000
    process.terminate()
    await process.ended()
    assert gc.get_freeze_count() == 0


async def test_under_load_every_call_is_answered_or_was_never_begun(settings: Any, keys: Any) -> None:
    servicer = Audit()
    servicer.release.set()
    process = Process(servicer, settings(grace=10))
    address = await process.address()
    outcomes: list[str] = []
    async with channel(address, keys.token("auditor")) as client:
        stub = audit_service_pb2_grpc.AuditServiceStub(client)

        async def load() -> None:
            while True:
                try:
                    await stub.ListEvents(pb.ListEventsRequest())
                except errors.Unavailable:
                    outcomes.append("refused")
                    return
                outcomes.append("answered")

        loaders = [asyncio.create_task(load()) for _ in range(20)]
        async with asyncio.timeout(10):
            while len(outcomes) < 200:  # noqa: ASYNC110 (a bounded wait for load)
                await asyncio.sleep(0.001)  # the pace of the stream
        process.terminate()
        await asyncio.gather(*loaders)
        await process.ended()

    assert outcomes.count("refused") == 20
    assert servicer.happened.count("answered") == outcomes.count("answered")


async def test_streams_end_at_once_as_unavailable_so_that_readers_resume(settings: Any, keys: Any) -> None:
    servicer = Audit()
    process = Process(servicer, settings(grace=3600))
    address = await process.address()
    async with channel(address, keys.token("auditor")) as client:
        stream = audit_service_pb2_grpc.AuditServiceStub(client).TailEvents(pb.TailEventsRequest())
        await stream.read()
        await asyncio.wait_for(servicer.begun.wait(), 10)

        process.terminate()

        # Otherwise the stream would go on for the whole hour of grace.
        async with asyncio.timeout(EVENTUALLY):
            with pytest.raises(errors.Unavailable) as caught:
                async for _ in stream:
                    pass
            await process.ended()

    assert caught.value.reason == "STOPPING"
    assert servicer.happened[0] == "stream ended"


async def test_nothing_is_closed_before_an_aborted_handler_s_finally(settings: Any, keys: Any) -> None:
    servicer = Audit()
    process = Process(servicer, settings(grace=0.1))
    address = await process.address()
    async with channel(address, keys.program("worker-default")) as client:
        from placet.event.v1 import event_pb2
        from placet_rpc import identity

        event = event_pb2.Event(cause_id="x", actor=event_pb2.Actor(kind=event_pb2.ACTOR_KIND_CLOCK))
        event.time.GetCurrentTime()
        event.closed.SetInParent()
        request = pb.AppendEventsRequest(
            approval_id="1c9e3a52-6f0b-4d52-9a39-0e5d5a1f7b11", expected_next=1, events=[event]
        )
        with identity.acting_for("default"):
            call = asyncio.ensure_future(
                audit_service_pb2_grpc.AuditServiceStub(client).AppendEvents(request)
            )
        await asyncio.wait_for(servicer.begun.wait(), 10)

        process.terminate()

        with pytest.raises(errors.Unavailable):
            await call
        await process.ended()

    assert servicer.happened == ["finally", "channels closed", "telemetry flushed"]


async def test_a_second_signal_cuts_the_grace_short(settings: Any, keys: Any) -> None:
    servicer = Audit()
    process = Process(servicer, settings(grace=120))
    address = await process.address()
    async with channel(address, keys.token("auditor"), default_timeout=60) as client:
        call = asyncio.ensure_future(
            audit_service_pb2_grpc.AuditServiceStub(client).ListEvents(pb.ListEventsRequest())
        )
        await asyncio.wait_for(servicer.begun.wait(), 10)

        process.terminate()
        await asyncio.sleep(0)
        process.terminate()

        with pytest.raises(errors.Unavailable):
            await call
        await process.ended()


async def test_a_long_poll_learns_of_the_stop_and_answers_early(settings: Any, keys: Any) -> None:
    class LongPoll(Audit):
        async def ListEvents(self, request: Any, context: Any) -> pb.ListEventsResponse:
            self.begun.set()
            await calls.stopping().wait()
            return pb.ListEventsResponse(size=7)

    servicer = LongPoll()
    process = Process(servicer, settings(grace=60))
    address = await process.address()
    async with channel(address, keys.token("auditor"), default_timeout=60) as client:
        poll = asyncio.ensure_future(
            audit_service_pb2_grpc.AuditServiceStub(client).ListEvents(pb.ListEventsRequest())
        )
        await asyncio.wait_for(servicer.begun.wait(), 10)

        process.terminate()

        assert (await poll).size == 7
        await process.ended()


async def test_everything_is_closed_although_one_fails_to_or_the_server_never_starts(
    settings: Any, keys: Any
) -> None:
    servicer = Audit()
    process = Process(servicer, settings(listen="256.0.0.1:1"))

    with pytest.raises(CannotListen):
        await process.ended()

    assert servicer.happened == ["channels closed", "telemetry flushed"]


async def test_a_stopped_server_is_not_serving(run_audit: Any) -> None:
    async with run_audit() as audit:
        await asyncio.gather(audit.server.stop(), audit.server.stop())
        assert not await serving(audit.address)


def test_outside_of_a_call_nothing_stops() -> None:
    assert not calls.stopping().is_set()
