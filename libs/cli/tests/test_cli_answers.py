"""Exit statuses, for programs, and questions asked once more, for people."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands import decide as deciding
from placet_cli.commands import request as requesting
from placet_cli.commands.decide import Verdict
from placet_cli.home import Home
from placet_cli.problems import Problem
from placet_cli.session import Session

pytestmark = pytest.mark.integration

ID = "1c9f0e4a-0000-5000-8000-000000000000"
CAREFUL = ["Careful: this may look like something else than it is."]


class Client:
    """A service that answers at once."""

    def __init__(self, state: event_pb2.State.ValueType) -> None:
        self.approval = approval_pb2.Approval(approval_id=ID, state=state)
        self.approval.outcome.state = state
        self.decided = 0

    async def request_approval(self, **_asked: object) -> SimpleNamespace:
        return SimpleNamespace(id=ID, content_digest=b"", log_index=0)

    async def outcome(self, _approval_id: str) -> None:
        return None

    async def get(self, _approval_id: str, **_more: object) -> approval_pb2.Approval:
        return self.approval

    async def decide(self, *_given: object, **_more: object) -> SimpleNamespace:
        self.decided += 1
        return SimpleNamespace(status=approval_pb2.COMMAND_STATUS_EFFECTIVE, log_index=0)


def session_of(client: Client, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Session:
    """A session whose client is this one."""

    @asynccontextmanager
    async def connected(_session: Session, **_more: object) -> AsyncIterator[Client]:
        yield client

    async def looked(*_given: object) -> tuple[approval_pb2.Approval, object]:
        return client.approval, approval_service_pb2.GetContentResponse()

    monkeypatch.setattr(Session, "client", connected)
    monkeypatch.setattr(Session, "look", looked)
    monkeypatch.setattr(deciding, "warnings", lambda _: CAREFUL)
    monkeypatch.setattr(deciding, "unread", lambda _: [])
    return Session(Home.at(folder))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (event_pb2.STATE_APPROVED, 0),
        (event_pb2.STATE_ANSWERED, 0),
        (event_pb2.STATE_REJECTED, 3),
        (event_pb2.STATE_CANCELLED, 3),
    ],
)
async def test_who_waits_learns_from_the_exit_status_whether_it_was_approved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: event_pb2.State.ValueType, status: int
) -> None:
    session = session_of(Client(state), monkeypatch, tmp_path)
    (tmp_path / "text.txt").write_text("pay")
    found = 0
    try:
        await requesting.request(session, str(tmp_path / "text.txt"), wait=True)
    except typer.Exit as end:
        found = end.exit_code
    assert found == status
    # Who does not wait was told that it was asked, whatever became of it meanwhile.
    await requesting.request(session, str(tmp_path / "text.txt"))


@pytest.mark.parametrize(
    ("terminal", "yes", "means_it", "decided"),
    [
        (True, False, True, 1),
        (True, False, False, 0),
        (True, True, False, 1),
        (False, False, False, 1),
    ],
)
async def test_who_decides_about_what_may_deceive_is_asked_again_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    terminal: bool,
    yes: bool,
    means_it: bool,
    decided: int,
) -> None:
    client = Client(event_pb2.STATE_APPROVED)
    session = session_of(client, monkeypatch, tmp_path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(typer, "confirm", lambda *_given, **_more: means_it)
    if decided:
        await deciding.decide(session, ID, Verdict.APPROVE, yes=yes)
    else:
        with pytest.raises(Problem, match="nothing was decided"):
            await deciding.decide(session, ID, Verdict.APPROVE, yes=yes)
    assert client.decided == decided
