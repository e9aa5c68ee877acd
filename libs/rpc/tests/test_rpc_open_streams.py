"""An open stream ends when its token does, with a typed error, and is resumed with a fresh token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.audit.v1 import audit_service_pb2 as pb
from placet.decision.v1 import decision_service_pb2
from placet.notification.v1 import notification_service_pb2
from placet_rpc.access import Method, methods_of
from placet_rpc.client import channel
from placet_rpc.errors import Unauthenticated
from placet_rpc.files import write_atomically
from placet_rpc.interceptors.auth import Authentication
from placet_rpc.tokens.mint import generate_keys
from placet_rpc.tokens.verify import Verifier
from placet_testing.tokens import revoke

pytestmark = pytest.mark.integration

SERVICES = (
    approval_service_pb2.DESCRIPTOR,
    pb.DESCRIPTOR,
    decision_service_pb2.DESCRIPTOR,
    notification_service_pb2.DESCRIPTOR,
)
METHODS = methods_of(service for file in SERVICES for service in file.services_by_name.values())
STREAMS = [method for method in METHODS.values() if method.streaming]
TAIL = METHODS["/placet.audit.v1.AuditService/TailEvents"]


class Log:
    """A log of two entries, then silence; counts the streams whose `finally` has run."""

    def __init__(self) -> None:
        self.ended = 0

    async def tail(self, request: Any, context: Any) -> AsyncIterator[pb.TailEventsResponse]:
        try:
            for size in range(request.from_log_index + 1, 3):
                yield pb.TailEventsResponse(size=size)
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def sizes_until_refused(call: Any) -> tuple[list[int], Unauthenticated]:
    """Sizes that the stream answered, and the error that it ended with."""
    seen: list[int] = []
    try:
        async for answer in call:
            seen.append(answer.size)  # noqa: PERF401 (kept when the stream raises)
    except Unauthenticated as error:
        return seen, error
    raise AssertionError("the stream ended without an error")


async def test_a_stream_ends_when_its_token_expires_and_resumes_with_a_fresh_one(
    run_audit: Any, keys: Any
) -> None:
    log, token = Log(), keys.token("auditor", ttl=0.5)
    async with asyncio.timeout(10), run_audit(TailEvents=log.tail, token=token) as audit:
        seen, error = await sizes_until_refused(audit.stub.TailEvents(pb.TailEventsRequest(from_log_index=1)))

        assert (error.reason, error.domain) == ("TOKEN_EXPIRED", "rpc.placet")
        assert (seen, log.ended) == ([2], 1)

        async with channel(audit.address, keys.token("auditor")) as fresh:
            resumed = type(audit.stub)(fresh).TailEvents(pb.TailEventsRequest(from_log_index=0))
            assert (await resumed.read()).size == 1
            resumed.cancel()


async def test_a_stream_that_never_waits_ends_too(run_audit: Any, keys: Any) -> None:
    async def flood(request: Any, context: Any) -> AsyncIterator[pb.TailEventsResponse]:
        while True:
            yield pb.TailEventsResponse(size=1)

    token = keys.token("auditor", ttl=0.5)
    async with asyncio.timeout(20), run_audit(TailEvents=flood, token=token) as audit:
        _, error = await sizes_until_refused(audit.stub.TailEvents(pb.TailEventsRequest()))

    assert error.reason == "TOKEN_EXPIRED"


def opened(method: Method, verifier: Verifier, token: str) -> AsyncIterator[Any]:
    """The stream of a handler that answers once and then waits, behind the check of its token."""

    async def answer_once(request: Any, context: Any) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    context = Mock()
    context.invocation_metadata.return_value = [("authorization", f"Bearer {token}")]
    return Authentication(verifier).stream(method, answer_once)(Mock(), context)


@pytest.mark.parametrize("method", STREAMS, ids=[method.name for method in STREAMS])
@pytest.mark.parametrize("end", ["TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"])
async def test_every_stream_of_the_contract_ends_with_its_token(
    keys: Any, tmp_path: Path, method: Method, end: str
) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(keys.files.jwks.read_bytes())
    expires = end == "TOKEN_EXPIRED"
    token = keys.token("auditor", ttl=0.2 if expires else 60).value
    stream = opened(method, Verifier(jwks, cache_seconds=0.05), token)
    assert await anext(stream) == 1

    if end == "TOKEN_REVOKED":
        revoke(jwks, token)
    if end == "TOKEN_INVALID":
        other = generate_keys(tmp_path / "other").jwks
        write_atomically(jwks, other.read_text(), mode=0o644)

    async with asyncio.timeout(10):
        with pytest.raises(Unauthenticated) as ended:
            await anext(stream)
    assert (ended.value.reason, ended.value.domain) == (end, "rpc.placet")


async def test_a_stream_outlives_the_revocation_of_another_token(keys: Any, tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(keys.files.jwks.read_bytes())
    stream = opened(TAIL, Verifier(jwks, cache_seconds=0.05), keys.token("auditor").value)
    assert await anext(stream) == 1

    revoke(jwks, keys.token("auditor").value)

    waiting = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_stream_s_own_timeout_stays_its_own(keys: Any) -> None:
    async def late(request: Any, context: Any) -> AsyncIterator[pb.TailEventsResponse]:
        yield pb.TailEventsResponse(size=1)
        raise TimeoutError("the handler's own")

    context = Mock()
    context.invocation_metadata.return_value = [("authorization", f"Bearer {keys.token('auditor').value}")]
    stream = Authentication(Verifier(keys.files.jwks)).stream(TAIL, late)(pb.TailEventsRequest(), context)
    await anext(stream)

    with pytest.raises(TimeoutError, match="own"):
        await anext(stream)
