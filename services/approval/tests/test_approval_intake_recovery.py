"""Recovery of interrupted intakes reaches every request, and none delays the others."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from placet_approval.intake.service import Intake
from placet_approval.recovery import intake as recovery
from placet_approval.recovery.intake import IntakeRecovery
from placet_approval.store.requests import Content, Request, RequestStore
from placet_rpc.errors import InvalidArgument, Unavailable
from placet_storage import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MINUTE = timedelta(minutes=1)


class RecordingIntake(Intake):
    """Remembers who was gone on with; some fail."""

    def __init__(self) -> None:
        self.gone_on: list[str] = []
        self.failing: dict[str, Exception] = {}

    async def resume(self, request: Request) -> int:
        """See Intake."""
        self.gone_on.append(request.approval_id)
        if request.approval_id in self.failing:
            raise self.failing[request.approval_id]
        return 0

    def seen(self) -> list[str]:
        """Since it was asked last."""
        seen, self.gone_on = self.gone_on, []
        return seen


@pytest.fixture
async def requests(sqlite_url: str) -> AsyncIterator[RequestStore]:
    database = await Database.open(sqlite_url, migrations="placet_approval")
    yield RequestStore(database)
    await database.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pages small enough for a test."""
    monkeypatch.setattr(recovery, "BATCH_SIZE", 3)
    return 3


async def store(requests: RequestStore, age: timedelta) -> str:
    """A request that the view does not know."""
    approval_id = str(uuid.uuid4())
    request = Request("home", approval_id, b"p", b"r", "{}", b"{}", {}, datetime.now(UTC) - age)
    await requests.insert(request, Content(b"d", "text/plain", b"x", "x"))
    return approval_id


async def test_all_are_reached_also_when_many_wait_and_then_all_over_again(
    requests: RequestStore, at_once: int
) -> None:
    wanted = [await store(requests, (60 - number) * MINUTE) for number in range(7)]
    intake = RecordingIntake()
    intake_recovery = IntakeRecovery(requests, intake, MINUTE)

    assert [await intake_recovery.run() for _ in range(3)] == [at_once, at_once, 1]
    assert intake.seen() == wanted
    # With no worker alive they wait on; a request that comes meanwhile is not starved.
    wanted.append(await store(requests, 2 * MINUTE))
    for _ in range(3):
        await intake_recovery.run()
    assert intake.seen() == wanted


async def test_one_that_cannot_be_gone_on_with_fails_alone(requests: RequestStore, at_once: int) -> None:
    wanted = [await store(requests, (5 - number) * MINUTE) for number in range(3)]
    intake = RecordingIntake()
    intake.failing[wanted[0]] = InvalidArgument("nobody can")

    await IntakeRecovery(requests, intake, MINUTE).run()

    assert intake.seen() == wanted


async def test_one_for_which_something_is_always_away_holds_up_nobody_and_is_named(
    requests: RequestStore, at_once: int
) -> None:
    wanted = [await store(requests, (5 - number) * MINUTE) for number in range(3)]
    intake = RecordingIntake()
    intake.failing[wanted[1]] = Unavailable("Temporal is away")
    intake_recovery = IntakeRecovery(requests, intake, MINUTE)

    with pytest.raises(Unavailable, match=f"{wanted[1]}.*Temporal is away"):
        await intake_recovery.run()
    # It may be away for all: the rest is left for the next time.
    assert intake.seen() == wanted[:2]
    await intake_recovery.run()
    assert intake.seen() == wanted[2:]


async def test_what_could_not_be_gone_on_with_while_something_was_away_is_come_back_to(
    requests: RequestStore, at_once: int
) -> None:
    wanted = [await store(requests, (5 - number) * MINUTE) for number in range(5)]
    intake = RecordingIntake()
    intake.failing = {approval_id: Unavailable("Temporal is away") for approval_id in wanted}
    intake_recovery = IntakeRecovery(requests, intake, MINUTE)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await intake_recovery.run()
    assert intake.seen() == wanted[:3]

    intake.failing.clear()
    for _ in range(3):
        await intake_recovery.run()

    assert intake.seen() == [*wanted[3:], *wanted[:3], *wanted[3:]]


async def test_a_request_that_was_written_down_late_is_found(requests: RequestStore) -> None:
    intake = RecordingIntake()
    intake_recovery = IntakeRecovery(requests, intake, MINUTE)
    await intake_recovery.run()

    late = await store(requests, 5 * MINUTE)
    await intake_recovery.run()

    assert intake.seen() == [late]
