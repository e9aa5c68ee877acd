"""Caller and tenant of a call, and the hook that gets refused access."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest

from placet.audit.v1 import audit_service_pb2 as pb
from placet_rpc import errors, identity
from placet_rpc.tokens.mint import mint
from placet_testing.conditions import until
from placet_testing.tokens import StaticToken

pytestmark = pytest.mark.integration

Raising = Callable[[Exception], Callable[..., Any]]
AUTH_LOGGER = "placet_rpc.interceptors.auth"
APPROVAL_ID = "1c9e3a52-6f0b-4d52-9a39-0e5d5a1f7b11"


async def test_the_caller_is_known_to_the_handler(run_audit: Any) -> None:
    seen: list[identity.Principal] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current())
        return pb.ListEventsResponse()

    async def note_stream(request: Any, context: Any) -> AsyncIterator[Any]:
        seen.append(identity.current())
        yield pb.TailEventsResponse()

    async with run_audit(ListEvents=note, TailEvents=note_stream) as audit:
        await audit.stub.ListEvents(pb.ListEventsRequest())
        async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
            pass

    assert [(who.subject, who.tenant) for who in seen] == [("auditor@example.com", "default")] * 2
    assert identity.current_or_none() is None


async def test_a_service_acts_for_the_tenant_that_its_call_names(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.token("service"), ListEvents=note) as audit:
        for tenant in ("acme", "globex"):
            with identity.acting_for(tenant):
                await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.PermissionDenied) as caught:
            await audit.stub.ListEvents(pb.ListEventsRequest())

    assert seen == ["acme", "globex"]
    assert caught.value.reason == "TENANT_REQUIRED"


async def test_the_tenant_goes_on_to_the_calls_that_a_call_makes(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.token("service"), ListEvents=note) as inner:

        async def ask(request: Any, context: Any) -> Any:
            return await inner.stub.ListEvents(request)

        token = keys.token("auditor", tenant="acme")
        async with run_audit(token=token, ListEvents=ask) as outer:
            await outer.stub.ListEvents(pb.ListEventsRequest())

    assert seen == ["acme"]


async def test_a_refusal_by_role_is_reported_with_who_and_about_what(run_audit: Any, keys: Any) -> None:
    heard: list[tuple[Any, ...]] = []

    async def hook(*refusal: Any) -> None:
        heard.append(refusal)

    token = keys.token("requester", subject="eve@example.com")
    async with run_audit(token=token, on_access_refused=hook) as audit:
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest(filter=pb.EventFilter(approval_id=APPROVAL_ID)))
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest(filter=pb.EventFilter(approval_id="x" * 5000)))
        await until(lambda: len(heard) >= 2)

    method, reason, principal, approval_id = heard[0]
    assert (method, reason) == ("/placet.audit.v1.AuditService/ListEvents", "ROLE_REQUIRED")
    assert (principal.subject, approval_id) == ("eve@example.com", APPROVAL_ID)
    assert heard[1][3] == ""


async def test_a_refusal_by_a_handler_is_reported_and_a_stranger_s_call_is_not(
    run_audit: Any, keys: Any, raising: Raising, raising_stream: Raising
) -> None:
    heard: list[tuple[Any, ...]] = []

    async def hook(*refusal: Any) -> None:
        heard.append(refusal)

    denied = errors.PermissionDenied("not asked", reason="NOT_ASKED")
    async with run_audit(
        on_access_refused=hook, ListEvents=raising(denied), TailEvents=raising_stream(denied)
    ) as audit:
        async with grpc.aio.insecure_channel(audit.address) as stranger:
            call: Any = stranger.unary_unary("/placet.audit.v1.AuditService/ListEvents")
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.PermissionDenied):
            async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
                pass
        await until(lambda: len(heard) >= 2)

    assert {refusal[1] for refusal in heard} == {"NOT_ASKED"}
    assert {refusal[2].subject for refusal in heard} == {"auditor@example.com"}


async def test_a_hook_that_hangs_or_fails_neither_delays_nor_fails_a_call(run_audit: Any, keys: Any) -> None:
    blocked = asyncio.Event()

    async def hook(*refusal: Any) -> None:
        await blocked.wait()
        raise RuntimeError

    async with run_audit(token=keys.token("requester"), on_access_refused=hook) as audit:
        for _ in range(1100):
            with pytest.raises(errors.PermissionDenied):
                await audit.stub.ListEvents(pb.ListEventsRequest())
        blocked.set()


async def test_refusals_are_handed_over_before_the_server_has_stopped(run_audit: Any, keys: Any) -> None:
    heard: list[Any] = []

    async def slow_hook(*refusal: Any) -> None:
        await asyncio.sleep(0.01)  # a hook that takes time, which a stop waits for
        heard.append(refusal)

    async with run_audit(token=keys.token("requester"), on_access_refused=slow_hook) as audit:
        for _ in range(20):
            with pytest.raises(errors.PermissionDenied):
                await audit.stub.ListEvents(pb.ListEventsRequest())

    assert len(heard) == 20


async def test_the_cause_of_a_refused_token_stands_in_the_log_and_not_in_the_answer(
    run_audit: Any, keys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", AUTH_LOGGER)
    token = StaticToken(mint(keys.signing, "svc", "default", ["auditor"], 600, issuer="somebody-else"))

    async with run_audit(token=token) as audit:
        with pytest.raises(errors.Unauthenticated) as caught:
            await audit.stub.ListEvents(pb.ListEventsRequest())

    assert (str(caught.value), caught.value.reason) == ("the token is not valid here", "TOKEN_INVALID")
    (line,) = [record.getMessage() for record in caplog.records if record.name == AUTH_LOGGER]
    assert line.startswith("placet.audit.v1.AuditService/ListEvents: token refused: ")
    assert "iss" in line
    assert token.value not in line
