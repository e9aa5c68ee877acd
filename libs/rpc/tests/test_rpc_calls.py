"""Deadlines, cancellation and streams, from the caller's side and from the server's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc import deadlines, errors
from placet_rpc.client import channel
from placet_rpc.tokens.mint import write_token
from placet_rpc.tokens.sources import FileTokenSource
from placet_testing.conditions import until

pytestmark = pytest.mark.integration


class Paused:
    """A handler that waits for ever, and says how it was ended."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended: BaseException | None = None

    async def unary(self, request: Any, context: Any) -> Any:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            self.ended = error
            raise

    async def stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.begun.set()
        try:
            while True:
                yield pb.TailEventsResponse(size=1)
                await asyncio.sleep(0.001)  # the pace of the stream
        except BaseException as error:
            self.ended = error
            raise


def no_faults(records: list[logging.LogRecord]) -> bool:
    return not [record for record in records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("by", ["call", "task"])
async def test_cancelling_a_unary_call_cancels_the_server_s(
    run_audit: Any, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    caplog.set_level(logging.DEBUG, "placet_rpc")
    held = Paused()
    async with run_audit(ListEvents=held.unary) as audit:
        call = audit.stub.ListEvents(pb.ListEventsRequest())
        waiting = asyncio.ensure_future(call)
        await asyncio.wait_for(held.begun.wait(), 10)

        (call if by == "call" else waiting).cancel()

        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: held.ended)

    assert isinstance(held.ended, asyncio.CancelledError)
    assert no_faults(caplog.records)
    assert "CANCELLED" in caplog.text


async def test_a_reader_that_stops_ends_the_server_s_stream(
    run_audit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    held = Paused()
    async with run_audit(TailEvents=held.stream) as audit:
        call = audit.stub.TailEvents(pb.TailEventsRequest())
        async for _ in call:
            break
        call.cancel()

        await until(lambda: held.ended)

    assert no_faults(caplog.records)


async def test_a_client_that_vanishes_ends_the_server_s_stream(
    run_audit: Any, keys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    held = Paused()
    async with run_audit(TailEvents=held.stream) as audit:
        async with channel(audit.address, keys.token("auditor")) as gone:
            call = audit_service_pb2_grpc.AuditServiceStub(gone).TailEvents(pb.TailEventsRequest())
            await call.read()

        await until(lambda: held.ended)

    assert no_faults(caplog.records)


async def test_a_deadline_ends_the_call_on_both_sides(run_audit: Any) -> None:
    held = Paused()
    async with run_audit(ListEvents=held.unary) as audit:
        with pytest.raises(errors.DeadlineExceeded):
            await audit.stub.ListEvents(pb.ListEventsRequest(), timeout=0.1)
        await until(lambda: held.ended)

    assert isinstance(held.ended, asyncio.CancelledError)


async def test_unary_calls_have_a_deadline_by_default_and_streams_none(run_audit: Any) -> None:
    left: list[float | None] = []

    async def unary(request: Any, context: Any) -> pb.ListEventsResponse:
        left.append(context.time_remaining())
        return pb.ListEventsResponse()

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        left.append(context.time_remaining())
        yield pb.TailEventsResponse()

    async with run_audit(ListEvents=unary, TailEvents=stream, default_timeout=3.0) as audit:
        await audit.stub.ListEvents(pb.ListEventsRequest())
        await audit.stub.ListEvents(pb.ListEventsRequest(), timeout=30)
        async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
            pass

    assert left[0] is not None
    assert left[1] is not None
    assert 1 < left[0] <= 4
    assert 25 < left[1] <= 31  # gRPC rounds a deadline up on the wire
    assert left[2] is None


async def test_a_call_inside_a_call_gets_what_is_left_less_a_little(run_audit: Any, keys: Any) -> None:
    left: list[tuple[float, float]] = []

    async def inner(request: Any, context: Any) -> pb.ListEventsResponse:
        left.append((context.time_remaining(), time.monotonic()))
        return pb.ListEventsResponse()

    async with run_audit(ListEvents=inner, default_timeout=60) as far:

        async def outer(request: Any, context: Any) -> Any:
            left.append((context.time_remaining(), time.monotonic()))
            return await far.stub.ListEvents(request)

        async with run_audit(ListEvents=outer) as near:
            await near.stub.ListEvents(pb.ListEventsRequest(), timeout=8)

    (outer_left, outer_time), (inner_left, inner_time) = left
    assert inner_left < outer_left - (inner_time - outer_time) - 0.05
    assert inner_left > outer_left - (inner_time - outer_time) - 1.0


async def test_no_call_is_made_when_nothing_is_left(run_audit: Any) -> None:
    async with run_audit(ListEvents=Paused().unary) as audit:

        async def late() -> None:
            deadlines.enter(0.0)
            with pytest.raises(errors.DeadlineExceeded, match="before another service was called"):
                await audit.stub.ListEvents(pb.ListEventsRequest())

        await asyncio.create_task(late())

    assert audit.servicer.handled == []


@pytest.mark.parametrize(
    ("remaining", "low", "high"), [(None, 5.0, 5.0), (60.0, 5.0, 5.0), (2.0, 1.5, 1.7), (0.1, 0.0, 0.0)]
)
def test_a_call_that_waits_keeps_time_for_its_answer(
    remaining: float | None, low: float, high: float
) -> None:
    def waiting() -> float:
        deadlines.enter(remaining)
        return deadlines.waiting_time(5.0)

    assert low <= copy_context().run(waiting) <= high


async def test_a_stream_raises_typed_errors_after_what_came_before_them(run_audit: Any) -> None:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield pb.TailEventsResponse(size=1)
        raise errors.OutOfRange("beyond", reason="BEYOND_END", metadata={"size": "1"})

    async with run_audit(TailEvents=stream) as audit:
        answers = aiter(audit.stub.TailEvents(pb.TailEventsRequest()))
        assert (await anext(answers)).size == 1
        with pytest.raises(errors.OutOfRange) as caught:
            await anext(answers)

    assert (caught.value.reason, caught.value.domain) == ("BEYOND_END", "audit.placet")


async def test_a_stream_s_handler_is_closed_before_its_end_is_told(run_audit: Any) -> None:
    closed: list[str] = []

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield pb.TailEventsResponse(size=1)
        finally:
            await asyncio.sleep(0)
            closed.append("handler")

    async with run_audit(TailEvents=stream) as audit:
        async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
            pass
        closed.append("caller")

    assert closed == ["handler", "caller"]


async def test_a_service_that_is_not_there_is_unavailable_at_once(keys: Any) -> None:
    async with channel("127.0.0.1:1", keys.token("auditor")) as nowhere:
        stub = audit_service_pb2_grpc.AuditServiceStub(nowhere)
        with pytest.raises(errors.Unavailable, match="AuditService/ListEvents"):
            await stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.Unavailable):
            async for _ in stub.TailEvents(pb.TailEventsRequest()):
                pass


async def test_a_service_that_was_restarted_is_found_again_within_two_seconds(
    run_audit: Any, keys: Any, settings: Any
) -> None:
    async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
        return pb.ListEventsResponse()

    async with run_audit(ListEvents=empty) as first, channel(first.address, keys.token("auditor")) as lasting:
        stub = audit_service_pb2_grpc.AuditServiceStub(lasting)
        await stub.ListEvents(pb.ListEventsRequest())
        await first.server.stop()
        for _ in range(5):
            with pytest.raises(errors.Unavailable):
                await stub.ListEvents(pb.ListEventsRequest())

        async with run_audit(changes={"listen": first.address}, ListEvents=empty):
            async with asyncio.timeout(2):
                while True:
                    try:
                        await stub.ListEvents(pb.ListEventsRequest())
                        break
                    except errors.Unavailable:
                        await asyncio.sleep(0.02)


async def test_a_renewed_token_file_is_used_by_the_next_call(
    run_audit: Any, keys: Any, tmp_path: Path
) -> None:
    async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
        return pb.ListEventsResponse()

    path = tmp_path / "token"
    async with run_audit(ListEvents=empty) as audit, channel(audit.address, FileTokenSource(path)) as fresh:
        stub = audit_service_pb2_grpc.AuditServiceStub(fresh)
        with pytest.raises(errors.Unauthenticated, match="no token"):
            await stub.ListEvents(pb.ListEventsRequest())

        write_token(path, keys.token("auditor", ttl=-60).token())
        with pytest.raises(errors.Unauthenticated, match="expired"):
            await stub.ListEvents(pb.ListEventsRequest())

        write_token(path, keys.token("auditor").token())
        await stub.ListEvents(pb.ListEventsRequest())


async def test_a_call_tells_all_that_grpc_s_own_call_tells(run_audit: Any) -> None:
    async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
        return pb.ListEventsResponse(size=3)

    async with run_audit(ListEvents=empty) as audit:
        call = audit.stub.ListEvents(pb.ListEventsRequest())
        assert (await call).size == 3
        assert await call.code() is grpc.StatusCode.OK
        assert await call.details() == ""
        assert call.done()
        assert not call.cancelled()
        assert not call.cancel()
        assert isinstance(await call.initial_metadata(), grpc.aio.Metadata)
        assert isinstance(await call.trailing_metadata(), grpc.aio.Metadata)
