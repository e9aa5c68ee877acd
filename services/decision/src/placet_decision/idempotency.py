"""Idempotency: one stored answer per key, however many calls arrive at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from placet_decision.store import Answer, Store
from placet_rpc.errors import AlreadyExists, PlacetError
from placet_rpc.tasks import SingleFlight


@dataclass(frozen=True)
class Call:
    """The identity of a call. `idempotency_key` is one of the calling program's own (`Principal.own_key`),
    `payload_digest` a SHA-256 over everything but the key."""

    tenant: str
    idempotency_key: str
    approval_id: str
    payload_digest: bytes


class IdempotentAnswers:
    """Answers every call with the first answer to its key.

    In this process one call per key works at a time, so that calls that arrive together cost one call of a
    model. Between processes the first stored answer wins.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._flights: SingleFlight[tuple[str, str], Answer] = SingleFlight()

    async def once(self, call: Call, work: Callable[[], Awaitable[bytes]], *, cheap: bool = False) -> bytes:
        """Returns the response stored under the call's key; `work` makes it if there is none.

        `cheap`: the work costs less than a lookup, so it is always done. An error of `work` is raised and not
        stored, so the next call works again. Raises AlreadyExists with reason ID_REUSED when the key belongs
        to another payload.
        """

        async def answer() -> Answer:
            found = None if cheap else await self._find(call)
            return found or await self._worked(call, work)

        found = await self._flights.run((call.tenant, call.idempotency_key), answer)
        if found.payload_digest != call.payload_digest:
            raise AlreadyExists(
                "this idempotency key was used for another request; use a new one",
                reason="ID_REUSED",
                metadata={"idempotency_key": call.idempotency_key},
            )
        return found.response

    async def _worked(self, call: Call, work: Callable[[], Awaitable[bytes]]) -> Answer:
        try:
            given = Answer(call.payload_digest, await work())
        except PlacetError:
            # The first answer stands, although its content may be gone.
            found = await self._find(call)
            if found is None:
                raise
            return found
        return await self._store.keep(call.tenant, call.idempotency_key, call.approval_id, given)

    async def _find(self, call: Call) -> Answer | None:
        return await self._store.find(call.tenant, call.idempotency_key)
