"""One answer per idempotency key, whoever asks how often at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from placet_decision.store import Answer, Store
from placet_rpc.errors import AlreadyExists, PlacetError
from placet_rpc.tasks import SingleFlight


@dataclass(frozen=True)
class Question:
    """A call, as far as idempotency goes. `payload_digest` is a SHA-256 over everything but the key."""

    tenant: str
    idempotency_key: str
    approval_id: str
    payload_digest: bytes


class Answers:
    """Gives the first answer again.

    In this process a key is worked on once at a time, so that calls that arrive together cost one call of a
    model. Between processes the first answer that is stored wins, and everybody gets that one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._flights: SingleFlight[tuple[str, str], Answer] = SingleFlight()

    async def once(
        self, question: Question, work: Callable[[], Awaitable[bytes]], *, cheap: bool = False
    ) -> bytes:
        """The response that is stored under the question's key, by `work` if there is none yet.

        `cheap`: work that costs less than to look first whether there is one; it is then done in any case.
        What `work` raises is raised and not stored, so the next call works again. Raises AlreadyExists with
        reason ID_REUSED when the key belongs to another payload.
        """

        async def answer() -> Answer:
            found = None if cheap else await self._find(question)
            return found or await self._worked(question, work)

        found = await self._flights.run((question.tenant, question.idempotency_key), answer)
        if found.payload_digest != question.payload_digest:
            raise AlreadyExists(
                "this idempotency key was used for another question; use a new one",
                reason="ID_REUSED",
                metadata={"idempotency_key": question.idempotency_key},
            )
        return found.response

    async def _worked(self, question: Question, work: Callable[[], Awaitable[bytes]]) -> Answer:
        try:
            given = Answer(question.payload_digest, await work())
        except PlacetError:
            # The first answer stands, although what it was made from may be gone.
            found = await self._find(question)
            if found is None:
                raise
            return found
        return await self._store.keep(question.tenant, question.idempotency_key, question.approval_id, given)

    async def _find(self, question: Question) -> Answer | None:
        return await self._store.find(question.tenant, question.idempotency_key)
