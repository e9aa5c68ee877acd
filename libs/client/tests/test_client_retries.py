"""When a call is made again, and when a stream goes on: without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_client import PlacetClient
from placet_client.retry import converge
from placet_rpc.errors import ResourceExhausted, Unauthenticated, Unavailable


class Tokens:
    """A token that a test replaces."""

    def __init__(self) -> None:
        self.value = "first"

    def token(self) -> str:
        return self.value


class Stream:
    """A stream of one change that ends with an error."""

    def __init__(self, index: int, error: Exception) -> None:
        self._index = index
        self._error = error

    async def __aiter__(self) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        entry = event_pb2.LogEntry(index=self._index)
        yield approval_service_pb2.WatchApprovalsResponse(entry=entry, next_log_index=self._index + 1)
        raise self._error

    def cancel(self) -> None:
        """Nothing to cancel."""


class Stub:
    """A log without end, of which each stream gives one entry and ends."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.asked: list[int | None] = []

    def WatchApprovals(self, request: approval_service_pb2.WatchApprovalsRequest) -> Any:
        self.asked.append(request.from_log_index if request.HasField("from_log_index") else None)
        return Stream(request.from_log_index or 7, self._error)


@pytest.mark.parametrize("reason", ["TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"])
async def test_a_watch_goes_on_without_a_gap_when_its_token_was_replaced(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    stub, tokens = Stub(Unauthenticated("ended", reason=reason)), Tokens()
    monkeypatch.setattr(PlacetClient, "stub", stub)
    seen = []
    async for change in PlacetClient("nowhere", tokens).watch():
        seen.append(change.entry.index)
        tokens.value += "+"
        if len(seen) == 3:
            break
    assert seen == [7, 8, 9]
    assert stub.asked == [None, 8, 9]


@pytest.mark.parametrize("reason", ["TOKEN_REVOKED", "TOKEN_INVALID"])
async def test_a_watch_whose_token_was_revoked_and_not_replaced_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    stub = Stub(Unauthenticated("ended", reason=reason))
    monkeypatch.setattr(PlacetClient, "stub", stub)
    changes = PlacetClient("nowhere", Tokens()).watch()
    assert (await anext(changes)).entry.index == 7
    with pytest.raises(Unauthenticated, match="ended"):
        await anext(changes)
    assert len(stub.asked) == 1


@pytest.mark.parametrize("kind", [ResourceExhausted, Unavailable])
async def test_a_call_is_not_made_again_before_the_service_says(
    kind: type[ResourceExhausted] | type[Unavailable],
) -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        raise kind("busy", retry_after=60)

    with pytest.raises(kind):
        await converge(call, patience=30)
    assert calls == 1
