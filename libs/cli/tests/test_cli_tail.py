"""`placet audit tail` goes on where it ended, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from placet.audit.v1 import audit_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands import tail
from placet_rpc.errors import PlacetError, Unauthenticated, Unavailable


class Log:
    """A log of which each stream gives one entry, and ends with an error."""

    def __init__(self, error: PlacetError) -> None:
        self.error = error
        self.token_number = 0

    def token(self) -> str:
        return str(self.token_number)

    async def TailEvents(
        self, request: audit_service_pb2.TailEventsRequest
    ) -> AsyncIterator[audit_service_pb2.TailEventsResponse]:
        index = request.from_log_index
        yield audit_service_pb2.TailEventsResponse(
            entries=[event_pb2.LogEntry(index=index)], next_log_index=index + 1
        )
        raise self.error


@pytest.mark.parametrize(
    ("error", "replaced", "goes_on"),
    [
        (Unavailable("away"), False, True),
        (Unauthenticated("ended", reason="TOKEN_EXPIRED"), False, True),
        (Unauthenticated("ended", reason="TOKEN_REVOKED"), True, True),
        (Unauthenticated("ended", reason="TOKEN_REVOKED"), False, False),
    ],
)
async def test_a_tail_goes_on_without_a_gap_unless_its_token_was_revoked_for_good(
    error: PlacetError, replaced: bool, goes_on: bool
) -> None:
    log, shown = Log(error), list[int]()

    def show(entry: event_pb2.LogEntry) -> None:
        shown.append(entry.index)
        log.token_number += replaced
        screen.unread = len(shown) == 3

    screen = SimpleNamespace(unread=False)
    session = SimpleNamespace(screen=screen, tokens=lambda: log)
    printer = cast(Any, SimpleNamespace(session=session, entry=show))
    if goes_on:
        await tail._follow(printer, cast(Any, log), 5)
        assert shown == [5, 6, 7]
    else:
        with pytest.raises(Unauthenticated):
            await tail._follow(printer, cast(Any, log), 5)
        assert shown == [5]
