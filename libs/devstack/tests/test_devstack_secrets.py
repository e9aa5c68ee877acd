"""Tokens of a stack that runs for longer than they live."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from placet_cli.home import Home
from placet_devstack import secrets
from placet_devstack.child import StackEvent
from placet_devstack.secrets import Tokens, make_keys
from placet_testing.conditions import until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(secrets, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(secrets, "TOKEN_SECONDS", 0.1)
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    return home


async def changes(path: Path, before: str) -> str:
    """The text of a file once it is another."""

    def changed() -> str | None:
        now = path.read_text()
        return now if now != before else None

    return await until(changed, f"{path.name} changes")


async def test_tokens_are_renewed_before_they_expire(home: Home) -> None:
    tokens = Tokens(home)
    tokens.write_all()
    first = home.token("approval").read_text()
    async with tokens.renewed(lambda _event: None):
        second = await changes(home.token("approval"), first)
        await changes(home.token("approval"), second)


async def test_a_renewal_that_fails_is_told_and_tried_again(home: Home) -> None:
    told: asyncio.Queue[StackEvent] = asyncio.Queue()
    tokens = Tokens(home)
    tokens.write_all()
    folder, away = home.path / "tokens", home.path / "away"
    folder.rename(away)
    async with tokens.renewed(told.put_nowait):
        async with asyncio.timeout(10):
            assert (await told.get()).what == "not renewed"
        before = (away / "approval").read_text()
        away.rename(folder)
        await changes(home.token("approval"), before)
