"""A consumer goes on where its cursor stands: after a break, a failure, another leader, an unusable entry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from placet_logtail import (
    Batch,
    Consumers,
    Cursor,
    CursorMoved,
    LeaseStore,
    LogTables,
    LogTailer,
    consumers,
    outage,
    tailer,
)
from placet_rpc.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    PlacetError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from placet_storage import Database, DatabaseUnavailable
from placet_testing.conditions import until

TENANT, CONSUMER = "home", "sum"


@dataclass(frozen=True)
class Entry:
    index: int


class Log:
    """A log in a test's hand."""

    def __init__(self) -> None:
        self.size = 0
        self.broken = False
        self._grown = asyncio.Event()

    def grow(self, number: int = 1) -> None:
        self.size += number
        self._grown.set()

    async def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Batch[Entry], None]:
        position = from_index
        while True:
            self._grown.clear()
            if self.broken:
                raise Unavailable("away")
            entries = [Entry(index) for index in range(position, self.size)]
            position = self.size
            yield Batch(entries, position, self.size)
            await self._grown.wait()


@dataclass
class Adder:
    """Keeps which entries it was given, in the database, beside its cursor."""

    database: Database
    cursor: Cursor
    unusable: set[int] = field(default_factory=set)
    at_fault: Exception = field(default_factory=lambda: ValueError("of no use"))
    failing: Exception | None = None
    given: list[list[int]] = field(default_factory=list)
    starts: list[bool] = field(default_factory=list)

    async def start(self, *, leading: bool) -> int:
        self.starts.append(leading)
        return await self.database.query(self.cursor.read, TENANT)

    async def handle(self, position: int, batch: Batch[Entry], *, leading: bool) -> None:
        indexes = [entry.index for entry in batch.items]
        self.given.append(indexes)
        if self.failing is not None:
            raise self.failing
        if self.unusable & set(indexes):
            raise self.at_fault
        if leading and batch.items:
            await self.database.transact(self.cursor.move, TENANT, position, batch.next)

    async def skip(self, position: int, entry: Entry, reason: str, *, leading: bool) -> None:
        def write(connection: sa.Connection) -> None:
            self.cursor.move(connection, TENANT, position, entry.index + 1)
            self.cursor.skip(connection, TENANT, entry.index, reason)

        if leading:
            await self.database.transact(write)


Process = tuple[Consumers, LogTailer[Entry], Adder]


@pytest.fixture
def process(database: Database, tables: LogTables) -> Callable[..., Process]:
    """A process that consumes a log."""

    def make(log: Log, name: str) -> Process:
        adder = Adder(database, Cursor(database, tables, CONSUMER))
        one = LogTailer(CONSUMER, TENANT, log, adder)
        running = Consumers(LeaseStore(database, tables), name)
        running.add(one)
        return running, one, adder

    return make


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(outage, "MAX_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(consumers, "RENEWAL_SECONDS", 0.05)


def reached(adder: Adder, position: int) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return await adder.database.query(adder.cursor.read, TENANT) == position

    return ask


async def test_it_goes_on_where_it_stands_after_a_break(process: Callable[..., Process]) -> None:
    log = Log()
    log.grow(3)
    running, one, adder = process(log, "first")
    await until(reached(adder, 3))
    log.broken = True
    log.grow(2)
    await until(lambda: one.status.broken)
    assert one.status.broken == "away"
    assert [each.value for each in consumers.stuck(running.statuses())] == [1]
    log.broken = False

    await until(reached(adder, 5))

    assert [index for indexes in adder.given for index in indexes] == [0, 1, 2, 3, 4]
    # Its position is recorded after its consumer has the entries.
    await until(lambda: one.status.position == 5)
    assert (one.status.end, one.status.leading, one.status.broken) == (5, True, "")
    assert [each.value for each in consumers.stuck(running.statuses())] == [0]
    await running.close()


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_at_each_attempt(
    process: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    log.broken = True
    running, one, adder = process(log, "first")
    await until(lambda: len(adder.starts) > 5)
    log.broken = False
    await until(lambda: not one.status.broken)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0] == "sum: the tail of home's log fails: away"
    assert said[1].startswith("sum: the tail of home's log works again after")
    await running.close()


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("not now"),
        DeadlineExceeded("not now"),
        ResourceExhausted("not so often"),
        DatabaseUnavailable("not now"),
        # Of this process, and of the whole log: they would fail every entry.
        Unauthenticated("the token has expired"),
        PermissionDenied("not by this program"),
        DataLoss("the log does not continue its last checkpoint", reason="LOG_INCONSISTENT"),
    ],
    ids=repr,
)
async def test_what_may_pass_is_tried_until_it_passes_and_skips_nothing(
    process: Callable[..., Process], error: Exception
) -> None:
    log = Log()
    log.grow(2)
    running, one, adder = process(log, "first")
    adder.failing = error
    await until(lambda: len(adder.given) > 5)
    adder.failing = None
    await until(reached(adder, 2))
    assert one.status.skipped == 0
    await running.close()


@pytest.mark.parametrize(
    "error",
    [
        Internal("unexpected"),
        InvalidArgument("no such id"),
        NotFound("no such request"),
        OutOfRange("beyond the end"),
        FailedPrecondition("not in this state"),
        DataLoss("entry 2 of the log cannot be read", reason="DATA_LOSS"),
    ],
    ids=repr,
)
async def test_an_error_about_one_entry_stops_no_tail(
    process: Callable[..., Process], error: PlacetError
) -> None:
    log = Log()
    running, one, adder = process(log, "first")
    adder.unusable, adder.at_fault = {2}, error
    log.grow(5)

    await until(reached(adder, 5))

    assert adder.given.count([2]) == tailer.ATTEMPTS
    assert (one.status.skipped, one.status.broken) == (1, "")
    await running.close()


async def test_the_head_is_known_once_the_log_was_heard_and_stays_known(
    process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer, "HEAD_SECONDS", 0.05)
    log = Log()
    log.grow(3)
    log.broken = True
    running, one, adder = process(log, "first")
    assert await one.head() is None

    # Also while the handler is behind.
    adder.failing, log.broken = Unavailable("not now"), False
    await until(lambda: adder.given)
    assert await one.head() == 3

    adder.failing = None
    await until(reached(adder, 3))
    log.broken = True
    log.grow(1)
    await until(lambda: one.status.broken)
    assert await one.head() == 3
    await running.close()


async def test_an_entry_of_no_use_is_tried_by_itself_reported_and_skipped(
    process: Callable[..., Process], database: Database, tables: LogTables, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    running, one, adder = process(log, "first")
    adder.unusable = {2}
    log.grow(5)

    await until(reached(adder, 5))
    log.grow(3)
    await until(reached(adder, 8))

    assert adder.given.count([2]) == tailer.ATTEMPTS
    assert one.status.skipped == 1
    assert "entry 2 of the log of home cannot be used and is skipped: ValueError: of no use" in caplog.text
    rows = await database.query(lambda connection: connection.execute(sa.select(tables.skipped)).all())
    assert [tuple(row) for row in rows] == [(CONSUMER, TENANT, 2, "ValueError: of no use")]
    # Together again, once the place is passed.
    assert [5, 6, 7] in adder.given
    await running.close()


async def test_one_process_writes_and_another_follows_when_it_stops(process: Callable[..., Process]) -> None:
    log = Log()
    log.grow(1)
    first, leader, adder = process(log, "first")
    await until(reached(adder, 1))
    second, follower, _ = process(log, "second")
    log.grow(1)
    await until(reached(adder, 2))
    assert (leader.status.leading, follower.status.leading) == (True, False)

    await first.close()
    log.grow(1)

    await until(reached(adder, 3))
    assert follower.status.leading
    await second.close()


async def test_two_who_both_believe_that_they_lead_write_nothing_twice(
    process: Callable[..., Process], database: Database, tables: LogTables
) -> None:
    cursor = Cursor(database, tables, CONSUMER)
    await database.transact(cursor.move, TENANT, 0, 4)
    with pytest.raises(CursorMoved):
        await database.transact(cursor.move, TENANT, 0, 5)
    with pytest.raises(CursorMoved):
        await database.transact(cursor.move, TENANT, 3, 5)

    log = Log()
    log.grow(6)
    running = [process(log, "twin") for _ in range(2)]
    for size in range(7, 20):
        log.grow()
        await until(reached(running[0][2], size))
    for consumer, _, _ in running:
        await consumer.close()
