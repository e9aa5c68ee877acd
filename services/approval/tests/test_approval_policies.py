"""Requests after a change of the service's policies."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from placet_rpc.errors import AlreadyExists, InvalidArgument

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration


async def test_a_retry_finds_its_request_though_its_policy_is_gone(bare_platform: Platform) -> None:
    platform = bare_platform
    folder = platform.folder / "policies"
    folder.mkdir()
    simple = (files("placet_domain") / "policies" / "simple.toml").read_text()
    (folder / "seasonal.toml").write_text(simple.replace('name = "simple"', 'name = "seasonal"'))
    replica = await platform.serve(policy_folder=folder)
    message = platform.asking(policy="seasonal")
    first = await (await platform.as_("ci@example.com")).RequestApproval(message)
    await replica.aclose()
    await platform.serve()
    caller = await platform.as_("ci@example.com")

    assert await caller.RequestApproval(message) == first
    message.title = "Another"
    with pytest.raises(AlreadyExists):
        await caller.RequestApproval(message)
    with pytest.raises(InvalidArgument):
        await caller.RequestApproval(platform.asking(policy="seasonal"))
