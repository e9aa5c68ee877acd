"""A server's reflection and health, its limits, and the settings that it refuses to start with."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from placet.audit.v1 import audit_service_pb2 as pb
from placet_rpc import errors
from placet_rpc.access import ContractError
from placet_rpc.server import CannotListen, Endpoint, start
from placet_testing.conditions import until

pytestmark = pytest.mark.integration


async def empty_list(request: Any, context: Any) -> pb.ListEventsResponse:
    return pb.ListEventsResponse()


async def test_a_message_beyond_the_bound_is_refused_and_the_server_lives(run_audit: Any) -> None:
    async with run_audit(changes={"max_message_bytes": 10_000}, ListEvents=empty_list) as audit:
        with pytest.raises(errors.ResourceExhausted):
            await audit.stub.ListEvents(pb.ListEventsRequest(filter=pb.EventFilter(approval_id="x" * 20_000)))
        await audit.stub.ListEvents(pb.ListEventsRequest())


async def test_calls_beyond_the_bound_are_refused_and_health_still_answers(run_audit: Any) -> None:
    from placet_rpc.client import serving

    release = asyncio.Event()

    async def wait(request: Any, context: Any) -> pb.ListEventsResponse:
        await release.wait()
        return pb.ListEventsResponse()

    async with run_audit(changes={"max_calls": 3}, ListEvents=wait) as audit:
        held = [asyncio.ensure_future(audit.stub.ListEvents(pb.ListEventsRequest())) for _ in range(3)]
        await until(lambda: len(audit.servicer.handled) >= 3)

        with pytest.raises(errors.ResourceExhausted, match="try later"):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        assert await serving(audit.address, "placet.audit.v1.AuditService")

        release.set()
        await asyncio.gather(*held)
        await audit.stub.ListEvents(pb.ListEventsRequest())


async def test_health_knows_the_server_and_its_services_only(run_audit: Any) -> None:
    from placet_rpc.client import serving

    async with run_audit() as audit:
        assert await serving(audit.address)
        assert await serving(audit.address, "placet.audit.v1.AuditService")
        assert not await serving(audit.address, "placet.approval.v1.ApprovalService")
    assert not await serving(audit.address)


@pytest.mark.parametrize("asked", [False, True])
async def test_the_contracts_are_told_only_when_that_was_asked_for(run_audit: Any, asked: bool) -> None:
    from grpc_reflection.v1alpha import (
        reflection_pb2,
        reflection_pb2_grpc,
    )

    async with (
        run_audit(changes={"reflection": asked}) as audit,
        grpc.aio.insecure_channel(audit.address) as channel,
    ):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names: set[str] = set()
        with suppress(grpc.aio.AioRpcError):
            async for answer in call:
                names.update(service.name for service in answer.list_services_response.service)

    assert ("placet.audit.v1.AuditService" in names) == asked


async def test_a_port_that_is_taken_is_a_clear_error(run_audit: Any, settings: Any) -> None:
    async with run_audit() as audit:
        with pytest.raises(CannotListen, match=audit.address):
            await start(settings(listen=audit.address), [])


def service_with(method: descriptor_pb2.MethodDescriptorProto) -> Any:
    """A service of one RPC, as another contract might have it."""
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="placet.x.v1", syntax="proto3")
    file.message_type.add(name="Message")
    method.MergeFrom(
        descriptor_pb2.MethodDescriptorProto(
            name="Do", input_type=".placet.x.v1.Message", output_type=".placet.x.v1.Message"
        )
    )
    file.service.add(name="XService").method.append(method)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("placet.x.v1.XService")


def for_whom(*roles: int, programs: tuple[int, ...] = ()) -> descriptor_pb2.MethodDescriptorProto:
    from placet.rpc.v1 import access_pb2

    method = descriptor_pb2.MethodDescriptorProto()
    method.options.Extensions[access_pb2.access].roles.extend(roles)  # type: ignore[arg-type]  # numbers, also of no role
    method.options.Extensions[access_pb2.access].programs.extend(programs)  # type: ignore[arg-type]  # likewise
    return method


async def test_a_server_whose_servicer_answers_in_another_style_refuses_to_start(settings: Any) -> None:
    class Written:
        async def AppendEvents(self, request: Any, context: Any) -> Any: ...

        async def ListEvents(self, request: Any, context: Any) -> Any: ...

        async def TailEvents(self, request: Any, context: Any) -> None:
            await context.write(pb.TailEventsResponse())

    endpoint = Endpoint(
        pb.DESCRIPTOR.services_by_name["AuditService"], lambda servicer, server: None, Written()
    )

    with pytest.raises(ContractError, match="TailEvents must be an async generator"):
        await start(settings(), [endpoint])


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (descriptor_pb2.MethodDescriptorProto(), "names nobody"),
        (for_whom(), "names nobody"),
        (for_whom(0, 1), "ROLE_UNSPECIFIED"),
        # It would open the RPC to every program.
        (for_whom(1, 5), "ROLE_PROGRAM"),
        (for_whom(1, programs=(1, 0)), "PROGRAM_UNSPECIFIED"),
        (descriptor_pb2.MethodDescriptorProto(client_streaming=True), "streams its requests"),
    ],
)
async def test_a_server_with_an_rpc_that_it_cannot_guard_refuses_to_start(
    settings: Any, method: descriptor_pb2.MethodDescriptorProto, why: str
) -> None:
    endpoint = Endpoint(service_with(method), lambda servicer, server: None, object())

    with pytest.raises(ContractError, match=why):
        await start(settings(), [endpoint])
