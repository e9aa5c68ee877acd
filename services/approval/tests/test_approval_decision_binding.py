"""A decision is about what was shown, as it was shown, under the policy that was in force, or it is void."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_approval import servicer
from placet_approval.content.warnings import RENDERING
from placet_rpc.errors import AlreadyExists, FailedPrecondition, PermissionDenied, PlacetError

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

ALICE, MALLORY = "alice@example.com", "mallory@example.com"
HOME = "home"
EFFECTIVE, ACCEPTED = approval_pb2.COMMAND_STATUS_EFFECTIVE, approval_pb2.COMMAND_STATUS_ACCEPTED
CONTENT, POLICY = b"other content" * 3, b"other policy" * 3


async def bound(platform: Platform, approval_id: str, **changes: Any) -> Any:
    """A decision that names all that a request says of itself, but for what a test changes."""
    shown = await platform.get(approval_id)
    named = {
        "content_digest": shown.content_digest,
        "policy_digest": shown.policy_digest,
        "rendering": shown.rendering,
    }
    return platform.deciding(approval_id, **(named | changes))


async def content_of(platform: Platform, approval_id: str) -> approval_service_pb2.GetContentResponse:
    shown = await platform.get(approval_id)
    request = approval_service_pb2.GetContentRequest(
        approval_id=approval_id, content_digest=shown.content_digest
    )
    return await (await platform.as_(ALICE)).GetContent(request)


async def access_refused(platform: Platform) -> list[event_pb2.Event]:
    """Early refusals in the tenant's log."""
    stored = [one.entry for one in await platform.audit.events(HOME) if not one.entry.approval_id]
    return [entry.event for entry in stored]


async def test_a_vote_holds_what_was_shown_how_under_which_policy_and_by_whom_it_was_decided(
    platform: Platform,
) -> None:
    approval_id = await platform.request()
    shown, content = await platform.get(approval_id), await content_of(platform, approval_id)

    answer = await (await platform.as_(ALICE)).SubmitDecision(await bound(platform, approval_id))

    assert answer.result.status == EFFECTIVE
    (event,) = [
        stored.entry.event
        for stored in await platform.audit.events(HOME, approval_id)
        if stored.entry.event.WhichOneof("body") == "voted"
    ]
    assert event.voted.content_digest == hashlib.sha256(content.content.body).digest()
    assert (event.voted.policy_version, event.voted.policy_digest) == (
        shown.policy_version,
        shown.policy_digest,
    )
    assert event.voted.rendering == content.rendering == shown.rendering == RENDERING
    assert (event.actor.kind, event.actor.name.value) == (event_pb2.ACTOR_KIND_PERSON, ALICE)
    assert event.actor.authenticated_by


DIFFERENT: dict[str, tuple[dict[str, Any], type[PlacetError], str, Callable[[Any], dict[str, str]]]] = {
    "content": (
        {"content_digest": CONTENT[:32]},
        FailedPrecondition,
        "CONTENT_CHANGED",
        lambda shown: {"content_digest": shown.content_digest.hex()},
    ),
    "policy": (
        {"policy_digest": POLICY[:32]},
        FailedPrecondition,
        "POLICY_CHANGED",
        lambda shown: {"policy_digest": shown.policy_digest.hex()},
    ),
}


@pytest.mark.parametrize(("changed", "error", "reason", "metadata"), DIFFERENT.values(), ids=DIFFERENT.keys())
async def test_a_decision_that_differs_in_one_thing_is_void_and_changes_nothing(
    platform: Platform,
    changed: dict[str, Any],
    error: type[PlacetError],
    reason: str,
    metadata: Callable[[Any], dict[str, str]],
) -> None:
    approval_id = await platform.request()
    before = await platform.get(approval_id)

    with pytest.raises(error) as raised:
        await (await platform.as_(ALICE)).SubmitDecision(await bound(platform, approval_id, **changed))

    assert (raised.value.reason, raised.value.metadata) == (reason, metadata(before))
    assert await platform.get(approval_id) == before
    assert platform.workflows.commands == []
    right = await (await platform.as_(ALICE)).SubmitDecision(await bound(platform, approval_id))
    assert right.result.status == EFFECTIVE


async def test_a_decision_that_names_another_rendering_is_void_by_the_logs_word(platform: Platform) -> None:
    approval_id = await platform.request()
    before = await platform.get(approval_id)
    decision = await bound(platform, approval_id, rendering="text/0")

    for _ in range(2):
        with pytest.raises(FailedPrecondition) as raised:
            await (await platform.as_(ALICE)).SubmitDecision(decision)
        assert (raised.value.reason, raised.value.metadata) == ("RENDERING_CHANGED", {"rendering": RENDERING})

    # CommandResult once, by the workflow alone.
    assert [command.id for command in platform.workflows.commands] == [decision.command_id]
    after = await platform.get(approval_id)
    (refused,) = after.path[len(before.path) :]
    assert refused.entry.event.refused.reason == error_reason_pb2.ERROR_REASON_RENDERING_CHANGED
    assert after.state == event_pb2.STATE_PENDING
    right = await (await platform.as_(ALICE)).SubmitDecision(await bound(platform, approval_id))
    assert right.result.status == EFFECTIVE


async def test_another_persons_decision_is_void_and_the_log_says_who_tried(platform: Platform) -> None:
    approval_id = await platform.request()
    before = await platform.get(approval_id)

    with pytest.raises(PermissionDenied) as raised:
        await (await platform.as_(MALLORY)).SubmitDecision(await bound(platform, approval_id))

    assert raised.value.reason == "NOT_ASKED"
    assert await platform.get(approval_id) == before
    (event,) = await platform.until(lambda: access_refused(platform))
    assert event.actor.name.value == MALLORY
    assert (event.access_refused.reason, event.access_refused.approval_id) == ("NOT_ASKED", approval_id)


@pytest.mark.parametrize(
    "changed",
    [{"rendering": ""}, {"policy_digest": b""}, {"verdict": event_pb2.VERDICT_REJECT}, {"reason": "other"}],
    ids=["rendering", "policy", "verdict", "reason"],
)
@pytest.mark.parametrize("working", [True, False], ids=["processed", "pending"])
async def test_a_decisions_id_is_good_for_what_it_was_used_for_and_no_more(
    bare_platform: Platform, changed: dict[str, Any], working: bool
) -> None:
    platform = bare_platform
    # Without a worker the wait may be short.
    await platform.serve(**({} if working else {"command_budget": 0.2}))
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    alice = await platform.as_(ALICE)
    platform.workflows.working = working
    first = await bound(platform, approval_id, command_id=command_id)
    await alice.SubmitDecision(first)
    before = await platform.get(approval_id)

    with pytest.raises(AlreadyExists) as raised:
        await alice.SubmitDecision(await bound(platform, approval_id, command_id=command_id, **changed))

    assert raised.value.reason == "ID_REUSED"
    assert await platform.get(approval_id) == before
    assert (await alice.SubmitDecision(first)).result.status == (EFFECTIVE if working else ACCEPTED)


async def test_a_decision_that_names_no_policy_and_no_rendering_is_one_all_the_same(
    platform: Platform,
) -> None:
    approval_id = await platform.request()
    unnamed = await bound(platform, approval_id, policy_digest=b"", rendering="")
    assert (await (await platform.as_(ALICE)).SubmitDecision(unnamed)).result.status == EFFECTIVE


async def test_an_accepted_decision_counts_though_the_rendering_changed_before_it_was_processed(
    hasty: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = hasty
    approval_id = await platform.request()
    alice = await platform.as_(ALICE)
    platform.workflows.working = False
    decision = await bound(platform, approval_id)
    assert (await alice.SubmitDecision(decision)).result.status == ACCEPTED

    monkeypatch.setattr(servicer, "RENDERING", "text/2")

    assert (await alice.SubmitDecision(decision)).result.status == ACCEPTED
    await platform.workflows.work()
    assert (await alice.SubmitDecision(decision)).result.status == EFFECTIVE


async def test_content_comes_with_its_rendering_and_with_what_in_it_may_deceive(platform: Platform) -> None:
    approval_id = await platform.request(
        title="Release p\u0430yment",
        subject_id="invoice\u200b7",
        content=approval_pb2.Content(body="ok\nEUR \u202e001\x1b".encode(), media_type="text/plain"),
    )

    content = await content_of(platform, approval_id)

    assert content.rendering == RENDERING
    told = [(one.field, one.kind, one.message, one.count) for one in content.warnings]
    assert told == [
        (
            "title",
            approval_service_pb2.TEXT_WARNING_KIND_MIXED_SCRIPTS,
            "U+0430 CYRILLIC SMALL LETTER A among LATIN letters at line 1, column 10",
            1,
        ),
        (
            "subject_id",
            approval_service_pb2.TEXT_WARNING_KIND_INVISIBLE,
            "U+200B ZERO WIDTH SPACE at line 1, column 8",
            1,
        ),
        (
            "text",
            approval_service_pb2.TEXT_WARNING_KIND_BIDIRECTIONAL,
            "U+202E RIGHT-TO-LEFT OVERRIDE at line 2, column 5",
            1,
        ),
        ("text", approval_service_pb2.TEXT_WARNING_KIND_CONTROL, "U+001B at line 2, column 9", 1),
    ]


async def test_a_long_content_is_checked_to_its_end(platform: Platform) -> None:
    body = ("a" * 99 + "\n") * 10_000 + "\u202e"
    approval_id = await platform.request(
        content=approval_pb2.Content(body=body.encode(), media_type="text/plain")
    )
    (warning,) = (await content_of(platform, approval_id)).warnings
    assert warning.message == "U+202E RIGHT-TO-LEFT OVERRIDE at line 10001, column 1"


async def test_honest_content_comes_without_warnings(platform: Platform) -> None:
    assert not (await content_of(platform, await platform.request())).warnings
