"""Who may talk to the mail server now, such that nobody who is slow to be served keeps the others out."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias


@dataclass(frozen=True)
class Party:
    """For whom a turn is taken."""

    tenant: str
    recipient: str


_Turn: TypeAlias = asyncio.Future[None]


class NoTurn(Exception):
    """The others were not done in time, or nobody gets a turn any more."""


class Turns:
    """At most `limit` turns at once.

    A free turn goes to the tenant that holds the fewest, and within it to the recipient that holds the
    fewest; among equals in rotation. One recipient never holds all of several turns: a mail server may be
    slow for one address only (greylisting, a slow filter), and the others still get through.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._closed = False
        self._share = max(1, limit - 1)
        self._of_tenant: Counter[str] = Counter()
        self._of_party: Counter[Party] = Counter()
        # Who waits, tenants and their parties in rotation; no part of it is empty.
        self._waiting: dict[str, dict[Party, deque[_Turn]]] = {}

    @asynccontextmanager
    async def turn(self, party: Party, patience: float) -> AsyncIterator[None]:
        """A turn for the duration of the block.

        Raises NoTurn after waiting for `patience` seconds, and at once after `close`.
        """
        if self._closed:
            raise _stopping()
        await self._take(party, patience)
        try:
            yield
        finally:
            self._give_back(party)

    def close(self) -> None:
        """Sends away whoever waits, and whoever comes. Who has a turn keeps it."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for queue in chain.from_iterable(parties.values() for parties in waiting.values()):
            for turn in queue:
                if not turn.cancelled():  # Else its waiter is about to leave.
                    turn.set_exception(_stopping())

    async def _take(self, party: Party, patience: float) -> None:
        # Whoever waits while a turn is free waits for its own share, so this jumps no queue.
        if self._free and self._may(party):
            self._give(party)
            return
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party.tenant, {}).setdefault(party, deque()).append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except (asyncio.CancelledError, TimeoutError) as error:
            if turn.cancelled():
                self._leave(party, turn)
            elif turn.exception() is None:
                self._give_back(party)  # It came in the same moment.
            if isinstance(error, TimeoutError):
                raise NoTurn(f"no turn within {patience:.1f} s") from None
            raise

    def _give(self, party: Party) -> None:
        self._free -= 1
        self._of_tenant[party.tenant] += 1
        self._of_party[party] += 1

    def _give_back(self, party: Party) -> None:
        self._free += 1
        self._of_tenant -= Counter((party.tenant,))
        self._of_party -= Counter((party,))
        while self._free and (following := self._next()) is not None:
            turn = self._waiting[following.tenant][following].popleft()
            self._rotate(following)
            if not turn.cancelled():  # Else its waiter is about to leave.
                self._give(following)
                turn.set_result(None)

    def _next(self) -> Party | None:
        # Sorting is stable: equals stay in rotation.
        for tenant in sorted(self._waiting, key=self._of_tenant.__getitem__):
            parties = filter(self._may, self._waiting[tenant])
            found = min(parties, key=self._of_party.__getitem__, default=None)
            if found is not None:
                return found
        return None

    def _may(self, party: Party) -> bool:
        return self._of_party[party] < self._share

    def _rotate(self, party: Party) -> None:
        """Puts whoever was served behind the others, and forgets whoever does not wait any more."""
        parties = self._waiting.pop(party.tenant)
        queue = parties.pop(party)
        if queue:
            parties[party] = queue
        if parties:
            self._waiting[party.tenant] = parties

    def _leave(self, party: Party, turn: _Turn) -> None:
        queue = self._waiting.get(party.tenant, {}).get(party)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            self._rotate(party)


def _stopping() -> NoTurn:
    return NoTurn("the service is stopping")
