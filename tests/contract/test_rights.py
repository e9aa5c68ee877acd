"""Each program's token opens what docs/security.md says, and nothing else: each RPC, event, tenant is tried.

The page's tables are generated from the contracts, and read back here; so a right that is given by mistake
stands in the page's diff, and a server that judges otherwise than the page turns a test red.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

import rights
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_pb2
from placet_notification.servicer import check_kind
from placet_rpc.access import Method
from placet_rpc.client import channel
from placet_rpc.errors import FailedPrecondition, Internal, InvalidArgument, PermissionDenied
from placet_rpc.identity import PROGRAMS, Principal, acting_for
from placet_rpc.server import RunningServer, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint_for_program
from placet_testing.audit_server import AuditServer
from placet_testing.recording_server import METHODS, Metadata, bearer, recording_endpoints
from placet_testing.tokens import StaticToken

pytestmark = pytest.mark.integration

OWN, OTHER = "own", "other"
PAGE = rights.PAGE.read_text()
GRANTED = rights.written(PAGE)
EVENTS = [one.name for one in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]
every_program = pytest.mark.parametrize("program", sorted(PROGRAMS))


@dataclass(frozen=True)
class Servers:
    """A server of all RPCs that notes what reached a handler, and a real AuditService."""

    keys: KeyFiles
    recording: RunningServer
    audit: AuditServer
    handled: list[str] = field(default_factory=list)

    def token(self, program: str) -> str:
        """A token of the program, for OWN alone."""
        return mint_for_program(SigningKey.load(self.keys.private_key), program, OWN, 600)


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    folder, handled = tmp_path_factory.mktemp("rights"), list[str]()
    keys = generate_keys(folder / "keys")
    settings = ServerSettings(listen="127.0.0.1:0", jwks_file=keys.jwks)
    recording = await start(settings, recording_endpoints(handled))
    audit = AuditServer(folder, keys)
    await audit.start()
    yield Servers(keys, recording, audit, handled)
    await audit.stop()
    await recording.stop(0)


def test_the_tables_are_what_the_contracts_say() -> None:
    assert rights.renewed(PAGE) == PAGE, "run: .venv/bin/python tools/rights.py"


def test_the_tables_name_every_rpc_event_and_kind() -> None:
    rpcs = {row_of(method) for method in METHODS.values()}
    kinds = {name.removeprefix("NOTIFICATION_KIND_") for name in notification_pb2.NotificationKind.keys()[1:]}
    assert set(GRANTED) == rpcs | set(EVENTS) | kinds


@every_program
async def test_a_program_reaches_the_rpcs_of_its_column_in_its_tenants_alone(
    servers: Servers, program: str
) -> None:
    token = servers.token(program)
    async with channel(f"127.0.0.1:{servers.recording.port}", None) as opened:
        for method in METHODS.values():
            name = row_of(method)
            for tenant in (OWN, OTHER, None):
                servers.handled.clear()
                granted = program in GRANTED[name] and tenant == OWN
                passed = await admits(opened, method, bearer(token, tenant))
                assert passed == granted, (name, tenant)
                assert granted or servers.handled == []


async def admits(opened: grpc.aio.Channel, method: Method, metadata: Metadata) -> bool:
    """True if a call gets past the judgement of who calls; an empty request may be refused then."""
    # Any: bytes are sent and received, whatever the method's messages.
    try:
        if method.streaming:
            stream: Any = opened.unary_stream(method.path)
            async for _ in stream(b"", metadata=metadata, timeout=10):
                pass
        else:
            unary: Any = opened.unary_unary(method.path)
            await unary(b"", metadata=metadata, timeout=10)
    except PermissionDenied:
        return False
    except (InvalidArgument, Internal):
        return True
    raise AssertionError("no handler answers")


@every_program
async def test_a_program_appends_the_events_of_its_column_in_its_tenants_alone(
    servers: Servers, program: str
) -> None:
    async with channel(servers.audit.address, StaticToken(servers.token(program))) as opened:
        stub = audit_service_pb2_grpc.AuditServiceStub(opened)
        for kind in EVENTS:
            for tenant in (OWN, OTHER):
                for of_tenant in (True, False):
                    request = append_of(program, kind, of_tenant=of_tenant)
                    cause = request.events[0].cause_id
                    with acting_for(tenant):
                        passed = await passes(stub, request)
                    misplaced = of_tenant != (kind in {"access_refused", "fallback_alarm"})
                    granted = program in GRANTED[kind] and tenant == OWN and not misplaced
                    assert passed == granted, (kind, tenant, of_tenant)
                    if not granted:
                        stored = [one.entry.event.cause_id for one in await servers.audit.events(tenant)]
                        assert cause not in stored


def row_of(method: Method) -> str:
    """The name of an RPC in the table, e.g. `AuditService.AppendEvents`."""
    return method.name.rpartition(".")[2].replace("/", ".")


def append_of(program: str, kind: str, *, of_tenant: bool) -> audit_service_pb2.AppendEventsRequest:
    """An append of one such event to the tenant, or as a new request's first."""
    event = event_pb2.Event(
        actor=event_pb2.Actor(kind=event_pb2.ACTOR_KIND_CLOCK), cause_id=f"{program}/{uuid.uuid4()}"
    )
    event.time.GetCurrentTime()
    getattr(event, kind).SetInParent()
    if kind == "access_refused":
        event.access_refused.method = f"/placet.{program}.v1.Service/Method"
    if of_tenant:
        return audit_service_pb2.AppendEventsRequest(events=[event])
    return audit_service_pb2.AppendEventsRequest(
        approval_id=str(uuid.uuid4()), expected_next=1, events=[event]
    )


async def passes(
    stub: audit_service_pb2_grpc.AuditServiceStub, request: audit_service_pb2.AppendEventsRequest
) -> bool:
    """Tells whether the caller may append it; whether it fits into its request there is another matter."""
    try:
        await stub.AppendEvents(request)
    except PermissionDenied:
        return False
    except (FailedPrecondition, InvalidArgument):
        return True
    return True


@every_program
def test_a_program_sends_the_kinds_of_notification_of_its_column_alone(program: str) -> None:
    caller = Principal(program, OWN, frozenset({"program"}), "jwt:test")
    for name, kind in notification_pb2.NotificationKind.items()[1:]:
        try:
            check_kind(caller, kind)
            passed = True
        except PermissionDenied:
            passed = False
        assert passed == (program in GRANTED[name.removeprefix("NOTIFICATION_KIND_")])
