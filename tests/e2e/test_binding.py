"""An approver decides exactly what was shown: from the warning on a terminal to the vote in the log."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import uuid

import pytest

from placet.approval.v1 import approval_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_client import PlacetClient
from placet_devstack.mail_sink import read_mails
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_rpc.errors import FailedPrecondition
from placet_testing.conditions import until
from placet_testing.stack import ALICE, Stack
from placet_workflows.names import COMMAND_SIGNAL

pytestmark = pytest.mark.integration

TRICKY = approval_pb2.Content(body="Pay EUR \u202e001\u202c to ACME\n".encode(), media_type="text/plain")
TITLE = "Release the p\u0430yment"
WARNINGS = (
    "Careful: this may look like something else than it is.",
    "U+0430 CYRILLIC SMALL LETTER A among LATIN letters at line 1, column 14",
    "U+202E RIGHT-TO-LEFT OVERRIDE at line 1, column 9; also U+202C POP DIRECTIONAL FORMATTING",
)


async def placet(stack: Stack, *arguments: str) -> tuple[str, str]:
    """Output of a command and, with its lines joined, its standard error."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    where = ("--home", str(stack.home.path), "--port-base", str(stack.ports.base))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "placet_cli.main", *arguments, *where, "--as", ALICE),
        env=outside | {"NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode(), " ".join(errors.decode().split())


async def the_vote(stack: Stack, approval_id: str) -> event_pb2.Event:
    (event,) = [one for one in await stack.path(approval_id) if one.WhichOneof("body") == "voted"]
    return event


async def test_who_decides_is_warned_and_the_log_holds_what_they_decided_on(stack: Stack) -> None:
    approval_id = await stack.request(title=TITLE, content=TRICKY)
    shown = await stack.waiting(approval_id)

    _, told = await placet(stack, "show", approval_id, "--content")
    assert all(warning in told for warning in WARNINGS)
    _, told = await placet(stack, "decide", approval_id, "approve")
    assert all(warning in told for warning in WARNINGS)

    event = await the_vote(stack, approval_id)
    assert event.voted.content_digest == hashlib.sha256(TRICKY.body).digest()
    assert event.voted.policy_digest == shown.policy_digest
    assert event.voted.policy_version == shown.policy_version == 1
    # The command that decides shows no content.
    assert (event.voted.rendering, shown.rendering) == ("", "text/1")
    assert event.actor.name.value == ALICE
    assert event.actor.authenticated_by


async def test_the_mail_that_asks_warns_too(stack: Stack) -> None:
    approval_id = await stack.request(title=TITLE, content=TRICKY)

    async def mailed() -> str | None:
        mails = [one for one in read_mails(stack.home.mails) if approval_id in one.text]
        return mails[0].text if mails else None

    text = await until(mailed, "alice is asked by mail")
    assert all(warning in " ".join(text.split()) for warning in WARNINGS)
    assert "> Pay EUR <U+202E>001<U+202C> to ACME\n" in text


async def test_a_program_decides_on_what_it_read_and_on_nothing_else(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    async with PlacetClient.connect(stack.ports.address("approval"), stack.tokens(ALICE)) as client:
        read = await client.get(approval_id)
        other = approval_pb2.Approval()
        other.CopyFrom(read)
        other.policy_digest = b"another policy, 32 bytes long...."[:32]
        with pytest.raises(FailedPrecondition) as refused:
            await client.decide(approval_id, "approve", shown=other)
        assert refused.value.reason == "POLICY_CHANGED"
        await client.decide(approval_id, "approve", shown=read)
    voted = (await the_vote(stack, approval_id)).voted
    assert (voted.content_digest, voted.policy_digest, voted.rendering) == (
        read.content_digest,
        read.policy_digest,
        read.rendering,
    )


async def test_the_workflow_refuses_what_did_not_come_by_the_door_and_the_log_says_why(stack: Stack) -> None:
    approval_id = await stack.request()
    shown = await stack.waiting(approval_id)
    command = DecisionCommand(
        id=str(uuid.uuid4()),
        actor=Actor(kind=ActorKind.PERSON, name=ALICE),
        verdict=Verdict.APPROVE,
        content_digest=shown.content_digest.hex(),
        policy_digest=shown.policy_digest.hex(),
        rendering=shown.rendering,
        rendering_in_force=shown.rendering,
    )
    void = {
        error_reason_pb2.ERROR_REASON_CONTENT_CHANGED: {"content_digest": "c1" * 32},
        error_reason_pb2.ERROR_REASON_POLICY_CHANGED: {"policy_digest": "d0" * 32},
        error_reason_pb2.ERROR_REASON_RENDERING_CHANGED: {"rendering": "text/0"},
    }
    handle = (await stack.temporal()).get_workflow_handle(approval_id)
    for changed in void.values():
        other = command.model_copy(update={"id": str(uuid.uuid4()), **changed})
        await handle.signal(COMMAND_SIGNAL, stack.attested(approval_id, other))

    async def refusals() -> list[error_reason_pb2.ErrorReason.ValueType] | None:
        path = await stack.path(approval_id)
        found = [event.refused.reason for event in path if event.WhichOneof("body") == "refused"]
        return found if len(found) == len(void) else None

    assert await until(refusals, "the workflow refuses them") == list(void)
    assert (await stack.get(approval_id)).state == event_pb2.STATE_PENDING
    await handle.signal(COMMAND_SIGNAL, stack.attested(approval_id, command))
    assert (await stack.outcome(approval_id)).approver == ALICE
