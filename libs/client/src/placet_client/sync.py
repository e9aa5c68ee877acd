"""The same client for programs without asyncio: `with PlacetClient.connect(…) as client: …`.

Each method has the parameters, the answer and the errors of the asyncio client's method of its name.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import placet_client
from placet.approval.v1 import approval_service_pb2
from placet_client.client import PATIENCE, check_open
from placet_client.messages import Selection
from placet_client.outcome import Outcome
from placet_rpc.tls import ClientTls
from placet_rpc.tokens.sources import TokenSource

_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")
_Item = TypeVar("_Item")
_Async = Callable[
    Concatenate[placet_client.PlacetClient, _Parameters],
    Coroutine[Any, Any, _Answer],
]
_Sync = Callable[Concatenate["PlacetClient", _Parameters], _Answer]


class _Loop:
    """An event loop in a thread of its own, for calls from other threads."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="placet-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Returns or raises as `work` does. Interrupted (Ctrl-C), the work is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class PendingApproval:
    """See placet_client.PendingApproval."""

    id: str
    content_digest: bytes
    log_index: int
    _client: PlacetClient = field(repr=False, compare=False)

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Waits for the outcome for `timeout` seconds. Raises StillPending."""
        return self._client.outcome(self.id, timeout)

    def content(self) -> approval_service_pb2.GetContentResponse:
        """The content, as the service keeps it: bytes, type, and the text extracted from them."""
        return self._client.get_content(self.id, self.content_digest)


def _blocking(method: _Async[_Parameters, _Answer]) -> _Sync[_Parameters, _Answer]:
    """A method of the asyncio client as one that waits for its answer."""

    @functools.wraps(method)
    def call(self: PlacetClient, /, *positional: _Parameters.args, **named: _Parameters.kwargs) -> _Answer:
        return self._run(lambda client: method(client, *positional, **named))

    return call


def _asking(
    method: _Async[_Parameters, placet_client.PendingApproval],
) -> _Sync[_Parameters, PendingApproval]:
    """The same of a method that answers with a request that was accepted."""

    @functools.wraps(method)
    def call(
        self: PlacetClient, /, *positional: _Parameters.args, **named: _Parameters.kwargs
    ) -> PendingApproval:
        asked = self._run(lambda client: method(client, *positional, **named))
        return PendingApproval(asked.id, asked.content_digest, asked.log_index, self)

    return call


class PlacetClient:
    """See placet_client.PlacetClient; safe to use from several threads."""

    def __init__(self, client: placet_client.PlacetClient) -> None:
        """See `connect`."""
        self._client = client
        self._loop: _Loop | None = None

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        tokens: TokenSource | Path | str | None = None,
        *,
        audit_address: str | None = None,
        patience: float = PATIENCE,
        tls: ClientTls | None = None,
    ) -> Self:
        """See placet_client.PlacetClient.connect."""
        return cls(
            placet_client.PlacetClient.connect(
                address, tokens, audit_address=audit_address, patience=patience, tls=tls
            )
        )

    def __enter__(self) -> Self:
        """Opens the connection."""
        self._loop = _Loop()
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connection. A forked process leaves it to the process that opened it."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.process == os.getpid():
            loop.run(self._client.__aexit__(kind, error, traceback))
            loop.close()

    request_approval = _asking(placet_client.PlacetClient.request_approval)
    outcome = _blocking(placet_client.PlacetClient.outcome)
    get = _blocking(placet_client.PlacetClient.get)
    get_content = _blocking(placet_client.PlacetClient.get_content)
    get_command = _blocking(placet_client.PlacetClient.get_command)
    list = _blocking(placet_client.PlacetClient.list)
    decide = _blocking(placet_client.PlacetClient.decide)
    cancel = _blocking(placet_client.PlacetClient.cancel)
    comment = _blocking(placet_client.PlacetClient.comment)
    policies = _blocking(placet_client.PlacetClient.policies)
    policy = _blocking(placet_client.PlacetClient.policy)
    decision_stats = _blocking(placet_client.PlacetClient.decision_stats)
    receipt = _blocking(placet_client.PlacetClient.receipt)
    erase = _blocking(placet_client.PlacetClient.erase)

    def watch(
        self, *, from_log_index: int | None = None, **selection: Unpack[Selection]
    ) -> Iterator[approval_service_pb2.WatchApprovalsResponse]:
        """See placet_client.PlacetClient.watch. Leaving the loop early ends the stream."""
        changes = self._client.watch(from_log_index=from_log_index, **selection)
        try:
            while (change := self._run(lambda _: _next(changes))) is not None:
                yield change
        finally:
            if self._loop is not None:
                self._run(lambda _: changes.aclose())

    def _run(self, work: Callable[[placet_client.PlacetClient], Coroutine[Any, Any, _Answer]]) -> _Answer:
        loop = self._loop
        check_open(None if loop is None else loop.process, "with")
        assert loop is not None
        return loop.run(work(self._client))


async def _next(items: AsyncIterator[_Item]) -> _Item | None:
    return await anext(items, None)
