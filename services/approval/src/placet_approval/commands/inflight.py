"""Commands on their way through this process: each is brought once however often it is sent at once, and
nobody has too many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from placet_approval.errors import reused
from placet_approval.store.pending_commands import Noted
from placet_domain.commands import Command
from placet_rpc.errors import ResourceExhausted

# Of one person or program to one request, not judged yet. Temporal bounds a history at 10,000 signals.
UNJUDGED = 20


@dataclass(eq=False)
class Passage:
    """One command on its way."""

    actor: str
    # Whether Temporal has it, which is then for good.
    brought: bool
    # Of those who send it at once, the one that brings it.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    senders: int = 0


class Passages:
    """Those of all requests."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, str], dict[tuple[str, bytes], Passage]] = {}

    @contextmanager
    def entered(
        self, tenant: str, approval_id: str, command: Command, unjudged: Sequence[Noted]
    ) -> Iterator[Passage]:
        """A command's passage, shared by all who send it now. `unjudged`: the request's noted commands.

        Raises AlreadyExists (ID_REUSED) when its id is on its way, or noted, with another command, and
        ResourceExhausted (TOO_MANY_COMMANDS).
        """
        request = self._under_way.setdefault((tenant, approval_id), {})
        try:
            mine = (command.id, bytes.fromhex(command.digest()))
            passage = request.get(mine) or _begun(mine, command, unjudged, request)
            request[mine] = passage
            passage.senders += 1
            try:
                yield passage
            finally:
                passage.senders -= 1
                if not passage.senders:
                    del request[mine]
        finally:
            if not request:
                self._under_way.pop((tenant, approval_id), None)


def _begun(
    mine: tuple[str, bytes],
    command: Command,
    unjudged: Sequence[Noted],
    under_way: dict[tuple[str, bytes], Passage],
) -> Passage:
    known = [(one.command_id, one.digest, one.actor) for one in unjudged]
    is_noted = any((command_id, digest) == mine for command_id, digest, _ in known)
    known += [(command_id, digest, passage.actor) for (command_id, digest), passage in under_way.items()]
    if not is_noted:
        if any(command_id == command.id for command_id, _, _ in known):
            raise reused(command)
        if len({command_id for command_id, _, actor in known if actor == command.actor.name}) >= UNJUDGED:
            raise ResourceExhausted(
                f"{UNJUDGED} of your commands to this request are not judged yet; ask what became of them"
                " with GetCommand, and send others when they are judged",
                reason="TOO_MANY_COMMANDS",
                metadata={"limit": str(UNJUDGED)},
            )
    return Passage(command.actor.name, brought=is_noted)
