"""Many commands at once, or one many times: each is signalled once, one id is one command, nobody floods."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.content.warnings import RENDERING
from placet_approval.recovery import commands as recovery_commands
from placet_approval.recovery import workflows as recovery_workflows
from placet_approval.store.pending_commands import MOST_PENDING, PendingCommands
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from placet_storage import Database
from placet_testing.attestation import attested_command

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

HOME = "home"
CALLER, ALICE, BOB = "ci@example.com", "alice@example.com", "bob@example.com"
EFFECTIVE = approval_pb2.COMMAND_STATUS_EFFECTIVE
ACCEPTED = approval_pb2.COMMAND_STATUS_ACCEPTED


async def decide(platform: Platform, approval_id: str, address: str = "", **fields: Any) -> Any:
    """One decision by one call."""
    stub = await platform.as_(ALICE, address=address)
    return (await stub.SubmitDecision(platform.deciding(approval_id, **fields))).result


async def test_of_two_commands_with_one_id_at_once_one_is_processed(platform: Platform) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())

    results = await asyncio.gather(
        *(decide(platform, approval_id, command_id=command_id, reason=f"{n}") for n in range(5)),
        return_exceptions=True,
    )

    won = [one for one in results if not isinstance(one, BaseException)]
    lost = [one for one in results if isinstance(one, BaseException)]
    assert [one.status for one in won] == [EFFECTIVE]
    assert {type(one) for one in lost} == {AlreadyExists}
    assert len(platform.workflows.commands) == 1


async def test_of_two_commands_with_one_id_on_two_replicas_the_first_keeps_the_id(hasty: Platform) -> None:
    platform, first = hasty, hasty.address
    await platform.serve(command_budget=0.6, replica="second")
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False

    early = asyncio.create_task(decide(platform, approval_id, command_id=command_id, reason="early"))
    await platform.until(lambda: has_commands(platform, 1))
    with pytest.raises(AlreadyExists):
        await decide(platform, approval_id, address=first, command_id=command_id, reason="late")
    assert (await early).status == ACCEPTED
    await platform.workflows.work()

    for address in (first, platform.address):
        again = await decide(platform, approval_id, address, command_id=command_id, reason="early")
        assert again.status == EFFECTIVE
        with pytest.raises(AlreadyExists) as raised:
            await decide(platform, approval_id, address, command_id=command_id, reason="late")
        assert raised.value.reason == "ID_REUSED"


async def has_commands(platform: Platform, number: int) -> bool:
    return len(platform.workflows.commands) == number


async def test_one_command_sent_fifty_times_at_once_is_signalled_once(platform: Platform) -> None:
    approval_id, message = await platform.request(), str(uuid.uuid4())
    alice = await platform.as_(ALICE)

    answers = await asyncio.gather(
        *(alice.SubmitDecision(platform.deciding(approval_id, command_id=message)) for _ in range(50))
    )

    assert {(one.result.status, one.result.log_index) for one in answers} == {
        (EFFECTIVE, answers[0].result.log_index)
    }
    assert len(platform.workflows.commands) == 1


async def test_a_command_that_could_not_be_signalled_is_signalled_by_the_next_call(
    platform: Platform,
) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await decide(platform, approval_id, command_id=command_id)
    platform.workflows.away = False

    # The first call may have had an effect, so its id stays taken.
    with pytest.raises(AlreadyExists):
        await decide(platform, approval_id, command_id=command_id, reason="other")
    assert (await decide(platform, approval_id, command_id=command_id)).status == EFFECTIVE


async def claimed_by_the_dead(platform: Platform, approval_id: str, command_id: str) -> None:
    """Another process stores alice's decision, and dies before it signals it."""
    message = platform.deciding(approval_id)
    command = DecisionCommand(
        id=command_id,
        actor=Actor(kind=ActorKind.PERSON, name=ALICE),
        verdict=Verdict.APPROVE,
        content_digest=message.content_digest.hex(),
        policy_digest=message.policy_digest.hex(),
        rendering=message.rendering,
        rendering_in_force=RENDERING,
        reason=message.reason,
    )
    database = await Database.open(platform.database_url, migrations="placet_approval")
    assert await PendingCommands(database, attested_command).claim(
        HOME, approval_id, command, datetime.now(UTC)
    )
    await database.close()


async def test_no_command_is_accepted_that_nobody_signalled(hasty: Platform) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    await claimed_by_the_dead(platform, approval_id, command_id)

    # Within the interval in which the command is another process's.
    answers = [await decide(platform, approval_id, command_id=command_id)]
    assert len(platform.workflows.commands) == 1
    await platform.until(lambda: is_approved(platform, approval_id))

    answers.append(await decide(platform, approval_id, command_id=command_id))
    assert [one.status for one in answers] == [ACCEPTED, EFFECTIVE]
    assert len(platform.workflows.commands) == 1


async def is_approved(platform: Platform, approval_id: str) -> bool:
    return (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED


async def test_commands_of_dead_processes_are_signalled_however_many_requests_are_open(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    platform = bare_platform
    monkeypatch.setattr(recovery_commands, "BATCH_SIZE", 2)
    # Nobody looks for workflows that do not run.
    monkeypatch.setattr(recovery_workflows, "BATCH_SIZE", 0)
    first = await platform.serve()
    broken, *sound = [await platform.request() for _ in range(6)]
    for approval_id in (broken, *sound[1:]):
        await claimed_by_the_dead(platform, approval_id, str(uuid.uuid4()))
    platform.workflows.terminate(sound[-1])
    events_of = AuditLog.events_of

    async def read(log: AuditLog, tenant: str, approval_id: str, *timeout: float) -> Any:
        if approval_id == broken:
            raise InvalidArgument("no such request", violations=[])
        return await events_of(log, tenant, approval_id, *timeout)

    monkeypatch.setattr(AuditLog, "events_of", read)
    await first.aclose()
    await platform.serve(replica="second", workflow_recovery_interval=0.1)

    async def are_approved() -> bool:
        return all([await is_approved(platform, approval_id) for approval_id in sound[1:]])

    await platform.until(are_approved)
    assert (await platform.get(sound[0])).state == event_pb2.STATE_PENDING
    assert f"the commands of request {broken} cannot be signalled" in caplog.text


async def flood(platform: Platform, approval_id: str, count: int) -> list[Any]:
    """Decisions with ids of their own, at once: what each came to."""
    alice = await platform.as_(ALICE)
    sent = (alice.SubmitDecision(platform.deciding(approval_id)) for _ in range(count))
    return await asyncio.gather(*sent, return_exceptions=True)


async def test_while_no_worker_runs_nobody_can_grow_a_history_without_end(hasty: Platform) -> None:
    platform = hasty
    approval_id, other = await platform.request(), await platform.request()
    platform.workflows.working = False

    answers = [*await flood(platform, approval_id, 60), *await flood(platform, approval_id, 5)]

    refused = [one for one in answers if isinstance(one, ResourceExhausted)]
    accepted = [one for one in answers if not isinstance(one, BaseException)]
    assert (len(accepted), len(refused)) == (MOST_PENDING, 65 - MOST_PENDING)
    assert len(platform.workflows.commands) == MOST_PENDING
    assert {(one.reason, one.metadata["limit"]) for one in refused} == {
        ("TOO_MANY_COMMANDS", str(MOST_PENDING))
    }
    assert "GetCommand" in refused[0].message
    # Another person, and another request, have their own.
    cancel = approval_service_pb2.CancelApprovalRequest(approval_id=approval_id, command_id=str(uuid.uuid4()))
    assert (await (await platform.as_(CALLER)).CancelApproval(cancel)).result.status == ACCEPTED
    assert (await decide(platform, other)).status == ACCEPTED


async def test_one_command_sent_many_times_at_once_grows_a_history_no_more_than_once_sent(
    hasty: Platform,
) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False

    answers = await asyncio.gather(*(decide(platform, approval_id, command_id=command_id) for _ in range(20)))

    assert {answer.status for answer in answers} == {ACCEPTED}
    assert len(platform.workflows.commands) == 1


async def test_who_has_too_many_can_still_send_the_same_again_and_goes_on_when_they_are_processed(
    hasty: Platform,
) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False
    await decide(platform, approval_id, command_id=command_id)
    await flood(platform, approval_id, MOST_PENDING)

    assert (await decide(platform, approval_id, command_id=command_id)).status == ACCEPTED
    await platform.workflows.work()

    assert (await decide(platform, approval_id, command_id=command_id)).status == EFFECTIVE
    with pytest.raises(FailedPrecondition) as raised:
        await decide(platform, approval_id)
    assert raised.value.reason == "CLOSED"
    assert (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED
