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


async def test_a_program_acts_for_the_tenant_that_its_call_names_among_those_of_its_token(
    run_audit: Any, keys: Any
) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.program("approval", "acme", "globex"), ListEvents=note) as audit:
        for tenant in ("acme", "globex"):
            with identity.acting_for(tenant):
                await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.PermissionDenied) as unnamed:
            await audit.stub.ListEvents(pb.ListEventsRequest())
        # The token's home is no tenant of the token by itself.
        for tenant in ("initech", "default", "*"):
            with pytest.raises(errors.PermissionDenied) as other:
                await audit.stub.ListEvents(pb.ListEventsRequest(), metadata=(("placet-tenant", tenant),))
            assert other.value.reason == ("TENANT_REQUIRED" if tenant == "*" else "OTHER_TENANT")

    assert seen == ["acme", "globex"]
    assert unnamed.value.reason == "TENANT_REQUIRED"


async def test_a_token_for_all_tenants_says_so(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.program("approval", "*"), ListEvents=note) as audit:
        for tenant in ("acme", "initech"):
            with identity.acting_for(tenant):
                await audit.stub.ListEvents(pb.ListEventsRequest())

    assert seen == ["acme", "initech"]


async def test_a_refused_program_is_told_that_it_was_and_the_log_says_which_right_it_lacks(
    run_audit: Any, keys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[Any, ...]] = []

    async def hook(*refusal: Any) -> None:
        heard.append(refusal)

    async with run_audit(token=keys.program("worker-openai"), on_access_refused=hook) as audit:
        for tenant in ("default", "acme"):
            with identity.acting_for(tenant), pytest.raises(errors.PermissionDenied) as caught:
                await audit.stub.ListEvents(pb.ListEventsRequest())
            if tenant == "default":
                assert (caught.value.reason, caught.value.metadata) == (
                    "PROGRAM_REFUSED",
                    {"program": "worker-openai"},
                )
        await until(lambda: len(heard) >= 2)

    assert [(reason, principal.subject, principal.tenant) for _, reason, principal, _ in heard] == [
        ("PROGRAM_REFUSED", "worker-openai", "default"),
        # In its home: a token writes nothing into the log of a tenant that it does not name.
        ("OTHER_TENANT", "worker-openai", "default"),
    ]
    method = "placet.audit.v1.AuditService/ListEvents"
    logged = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert logged == [
        f"{method}: worker-openai was refused: {method} is not for program worker-openai",
        f"{method}: worker-openai was refused: the token of program worker-openai does not name tenant acme",
    ]


async def test_a_callers_token_can_be_passed_on_while_its_call_is_handled(run_audit: Any, keys: Any) -> None:
    passed: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        passed.append(identity.current_token())
        return pb.ListEventsResponse()

    token = keys.token("auditor")
    async with run_audit(token=token, ListEvents=note) as audit:
        await audit.stub.ListEvents(pb.ListEventsRequest())

    assert passed == [token.value]
    with pytest.raises(LookupError):
        identity.current_token()


async def test_the_tenant_goes_on_to_the_calls_that_a_call_makes(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.program("approval", "acme"), ListEvents=note) as inner:

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
