"""Commands while view, log or Temporal are behind or away: no effective command gets an error."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_approval.commands.handler import CommandHandler
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.tables import LOG, content, request, view, view_event
from placet_approval.store.view import VIEW, CommandContext, ViewStore
from placet_domain import commands
from placet_logtail import Cursor, LeaseStore
from placet_rpc.errors import (
    FailedPrecondition,
    NotFound,
    PlacetError,
    Unavailable,
)
from placet_storage import Database
from placet_testing.attestation import attested_command

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB, MALLORY = "ci@example.com", "alice@example.com", "bob@example.com", "mallory@example.com"
HOME = "home"
EFFECTIVE = approval_pb2.COMMAND_STATUS_EFFECTIVE
ACCEPTED = approval_pb2.COMMAND_STATUS_ACCEPTED
REFUSED = approval_pb2.COMMAND_STATUS_REFUSED


@pytest.mark.usefixtures("long_leases")
async def test_an_effective_decision_gets_no_error_when_the_workflow_has_completed(
    bare_platform: Platform,
) -> None:
    platform = bare_platform
    await platform.serve()
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    message = platform.deciding(approval_id, command_id=command_id)
    await (await platform.as_(ALICE)).SubmitDecision(message)
    # A replica whose view stands still knows nothing of the outcome: it signals, and hears "completed".
    stale = await stale_replica(platform, approval_id)

    answer = await (await platform.as_(ALICE, address=stale)).SubmitDecision(message)

    # It took effect, but the next read here would not show it.
    assert (answer.result.status, answer.result.state) == (ACCEPTED, event_pb2.STATE_UNSPECIFIED)
    with pytest.raises(FailedPrecondition) as raised:
        await (await platform.as_(ALICE, address=stale)).SubmitDecision(platform.deciding(approval_id))
    assert raised.value.metadata == {"state": "APPROVED", "approver": ALICE}


async def test_an_effect_that_reaches_the_view_in_pieces_is_returned_once_complete(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    whole, paths = ViewStore.path, list[int]()
    first = await platform.decide(approval_id, command_id=command_id)

    async def context(*arguments: Any) -> CommandContext:
        path = await whole(*arguments[:3])
        voted = next(place for place, one in enumerate(path, 1) if one.entry.event.HasField("voted"))
        paths.append(voted)
        return CommandContext(path[:voted], exists=True)

    monkeypatch.setattr(ViewStore, "command_context", context)

    message = platform.deciding(approval_id, command_id=command_id)
    # Nothing is events any more, so that the view is looked at when the time is over: soon.
    answer = await (await platform.as_(ALICE)).SubmitDecision(message, timeout=2)
    assert answer.result == first
    assert paths


async def stale_replica(platform: Platform, approval_id: str) -> str:
    """The address of a replica whose view holds a request as it was before it was decided, for ever."""
    url = f"sqlite:///{platform.folder / 'stale.db'}"
    entries = await platform.audit.events(HOME, approval_id)
    database = await Database.open(url, migrations="placet_approval")
    await LeaseStore(database, LOG).hold([(VIEW, HOME)], "dead", datetime.now(UTC), timedelta(hours=1))
    source = await Database.open(platform.database_url, migrations="placet_approval")
    rows = await source.query(
        lambda connection: {
            table: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in (request, content, view, view_event)
        }
    )
    await source.close()
    asked = next(one.index for one in entries if one.entry.event.HasField("asked"))

    def write(connection: sa.Connection) -> None:
        for table, found in rows.items():
            kept = [row for row in found if table is not view_event or row["log_index"] <= asked]
            connection.execute(sa.insert(table), kept)
        Cursor(database, LOG, VIEW).move(connection, HOME, 0, asked + 1)

    await database.transact(write)
    await database.close()
    current = platform.address
    await platform.serve(database_url=url, replica="stale", command_budget=0.5)
    address, platform.address = platform.address, current
    return address


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize("reason", ["CLOSED", "ID_REUSED", "TOO_MANY_COMMENTS", "NOT_INVOLVED"])
async def test_a_command_that_the_log_refuses_is_not_kept_for_a_later_start(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    platform = bare_platform
    await platform.serve()
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    stale = await stale_replica(platform, approval_id)
    alice, late = await platform.as_(ALICE), await platform.as_(ALICE, address=stale)

    def commenting(text: str, id: str = "") -> approval_service_pb2.AddCommentRequest:
        return approval_service_pb2.AddCommentRequest(
            approval_id=approval_id, command_id=id or str(uuid.uuid4()), text=text
        )

    match reason:
        case "CLOSED":
            await platform.decide(approval_id)
        case "ID_REUSED":
            await alice.AddComment(commenting("first", command_id))
        case "TOO_MANY_COMMENTS":
            await alice.AddComment(commenting("first"))
            monkeypatch.setattr(commands, "MOST_COMMANDS", 1)
        case "NOT_INVOLVED":
            late = await platform.as_(MALLORY, address=stale)

            async def unanswered(*_: Any) -> None:
                return None

            # As while the log does not answer when the stale view is checked.
            monkeypatch.setattr(CommandHandler, "_known_state", unanswered)
    # The view does not know of it yet, and no workflow runs.
    platform.workflows.terminate(approval_id)

    with pytest.raises(PlacetError) as raised:
        await late.AddComment(commenting("second", command_id))

    assert raised.value.reason == reason
    database = await Database.open(f"sqlite:///{platform.folder / 'stale.db'}", migrations="placet_approval")
    assert not await PendingCommands(database, attested_command).has(HOME, approval_id, command_id)
    await database.close()


@pytest.mark.usefixtures("long_leases")
async def test_a_stale_view_does_not_refuse_who_was_asked_meanwhile(bare_platform: Platform) -> None:
    platform = bare_platform
    await platform.serve()
    approval_id = await platform.request(policy="escalating")
    stale = await stale_replica(platform, approval_id)
    await platform.escalate(approval_id)

    answer = await (await platform.as_(BOB, address=stale)).SubmitDecision(platform.deciding(approval_id))

    assert answer.result.status == ACCEPTED

    async def is_decided() -> bool:
        return (await platform.get(approval_id)).outcome.approver == BOB

    await platform.until(is_decided)


@pytest.mark.parametrize("how", ["away", "stalled"])
async def test_while_the_log_does_not_answer_the_workflow_checks(hasty: Platform, how: str) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    if how == "away":
        await platform.audit.stop()
    else:
        platform.audit.stall()

    answer = await platform.decide(approval_id, BOB, command_id=command_id)

    # BOB may have been asked meanwhile, so the workflow alone checks.
    assert answer.status == ACCEPTED
    platform.audit.go_on()
    if how == "away":
        await platform.audit.start()

    async def processed() -> bool:
        command = await platform.command_result(approval_id, command_id, CALLER)
        return command.status == REFUSED and command.refusal == error_reason_pb2.ERROR_REASON_NOT_ASKED

    await platform.until(processed)
    assert (await platform.get(approval_id)).state == event_pb2.STATE_PENDING


async def test_while_temporal_is_away_a_decision_is_unavailable_and_then_converges(
    platform: Platform,
) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.away = True
    with pytest.raises(Unavailable) as raised:
        await platform.decide(approval_id, command_id=command_id)
    assert raised.value.reason == "DEPENDENCY_UNAVAILABLE"
    platform.workflows.away = False

    assert (await platform.decide(approval_id, command_id=command_id)).status == EFFECTIVE


async def test_a_request_that_is_not_started_yet_is_started_by_a_command(platform: Platform) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await caller.RequestApproval(message)
    platform.workflows.away = False

    async def listed() -> list[approval_pb2.Approval]:
        return list((await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())).approvals)

    (approval,) = await platform.until(listed)

    assert (await caller.CancelApproval(platform.cancelling(approval.approval_id))).result.status == EFFECTIVE
    assert platform.workflows.starts == {approval.approval_id: 1}


async def test_a_command_that_nobody_sent_is_unknown(platform: Platform) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())

    with pytest.raises(NotFound) as raised:
        await platform.command_result(approval_id, command_id)

    assert (raised.value.reason, raised.value.metadata) == ("UNKNOWN_COMMAND", {"command_id": command_id})


async def test_commands_are_for_those_whom_the_request_concerns(platform: Platform) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    await platform.decide(approval_id, command_id=command_id)

    assert (await platform.command_result(approval_id, command_id, CALLER)).status == EFFECTIVE
    with pytest.raises(NotFound) as raised:
        await platform.command_result(approval_id, command_id, MALLORY)
    assert raised.value.reason == "UNKNOWN_APPROVAL"
