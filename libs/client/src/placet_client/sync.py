"""The same client for programs without asyncio: `with PlacetClient.connect(…) as client: …`."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import placet_client
from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_client.client import PATIENCE
from placet_client.outcome import Outcome
from placet_rpc.tls import ClientTls
from placet_rpc.tokens.sources import TokenSource

_Answer = TypeVar("_Answer")


class _Loop:
    """An event loop in a thread of its own, for calls from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="placet-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """What `work` returns or raises. Interrupted (Ctrl-C), the work is cancelled."""
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
    _wait: Any = field(repr=False, compare=False)  # the client's bound `outcome`

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Waits for the outcome for `timeout` seconds. Raises StillPending."""
        outcome: Outcome = self._wait(self.id, timeout)
        return outcome


class PlacetClient:
    """See placet_client.PlacetClient; safe to use from several threads. Watching needs the asyncio client."""

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
        patience: float = PATIENCE,
        tls: ClientTls | None = None,
    ) -> Self:
        """See placet_client.PlacetClient.connect."""
        return cls(placet_client.PlacetClient.connect(address, tokens, patience=patience, tls=tls))

    def __enter__(self) -> Self:
        """Opens the connection."""
        self._loop = _Loop()
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run(self._client.__aexit__(kind, error, traceback))
            loop.close()

    def request_approval(
        self,
        *,
        title: str,
        content: str | bytes,
        policy: str,
        media_type: str = "text/plain",
        required_approver: str = "",
        manager_approver: str = "",
        priority: str = "NORMAL",
        subject_id: str = "",
        deadline: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: uuid.UUID | str | None = None,
    ) -> PendingApproval:
        """See placet_client.PlacetClient.request_approval."""
        asked = self._run(
            self._client.request_approval(
                title=title,
                content=content,
                policy=policy,
                media_type=media_type,
                required_approver=required_approver,
                manager_approver=manager_approver,
                priority=priority,
                subject_id=subject_id,
                deadline=deadline,
                labels=labels,
                request_id=request_id,
            )
        )
        return PendingApproval(asked.id, asked.content_digest, asked.log_index, self.outcome)

    def outcome(self, approval_id: str, timeout: float | None = None) -> Outcome:
        """See placet_client.PlacetClient.outcome."""
        return self._run(self._client.outcome(approval_id, timeout))

    def get(self, approval_id: str, *, min_log_index: int = 0) -> approval_pb2.Approval:
        """See placet_client.PlacetClient.get."""
        return self._run(self._client.get(approval_id, min_log_index=min_log_index))

    def get_content(
        self, approval_id: str, content_digest: bytes | None = None
    ) -> approval_service_pb2.GetContentResponse:
        """See placet_client.PlacetClient.get_content."""
        return self._run(self._client.get_content(approval_id, content_digest))

    def list(
        self,
        *,
        states: Iterable[str] = (),
        policy: str = "",
        subject_id: str = "",
        waiting_for_me: bool = False,
        limit: int = 50,
        min_log_index: int = 0,
    ) -> approval_service_pb2.ListApprovalsResponse:
        """See placet_client.PlacetClient.list."""
        return self._run(
            self._client.list(
                states=states,
                policy=policy,
                subject_id=subject_id,
                waiting_for_me=waiting_for_me,
                limit=limit,
                min_log_index=min_log_index,
            )
        )

    def decide(
        self,
        approval_id: str,
        verdict: str,
        *,
        reason: str = "",
        shown: approval_pb2.Approval | None = None,
        content_digest: bytes | None = None,
        command_id: uuid.UUID | str | None = None,
    ) -> approval_pb2.CommandResult:
        """See placet_client.PlacetClient.decide."""
        return self._run(
            self._client.decide(
                approval_id,
                verdict,
                reason=reason,
                shown=shown,
                content_digest=content_digest,
                command_id=command_id,
            )
        )

    def cancel(
        self, approval_id: str, *, reason: str = "", command_id: uuid.UUID | str | None = None
    ) -> approval_pb2.CommandResult:
        """See placet_client.PlacetClient.cancel."""
        return self._run(self._client.cancel(approval_id, reason=reason, command_id=command_id))

    def erase(
        self, approval_id: str, *, reason: str, before_retention: bool = False
    ) -> approval_service_pb2.EraseApprovalResponse:
        """See placet_client.PlacetClient.erase."""
        return self._run(self._client.erase(approval_id, reason=reason, before_retention=before_retention))

    def _run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        if self._loop is None:
            work.close()
            raise RuntimeError("use the client inside `with`")
        return self._loop.run(work)
