"""`placet token` mints what the services of the embedded stack accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet_cli.home import Home
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_devstack.commands.token import token
from placet_devstack.secrets import make_keys
from placet_rpc.tokens.mint import KeyFiles
from placet_rpc.tokens.verify import Verifier


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    return home


async def test_a_token_names_the_person_and_the_roles(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    await token(Session(home, identity="alice@example.com"), roles="requester, approver", ttl=60)

    verifier = Verifier(KeyFiles.below(home.keys).jwks)
    printed = capsys.readouterr().out.strip()
    principal = verifier.verify(printed)
    assert (principal.subject, principal.tenant) == ("alice@example.com", "default")
    assert principal.roles == {"requester", "approver"}
    assert 0 < verifier.valid_for(printed) <= 60


@pytest.mark.parametrize("roles", ["", "program", "approver,program", "Approver"])
async def test_other_roles_than_those_of_people_are_refused(home: Home, roles: str) -> None:
    with pytest.raises(Problem) as caught:
        await token(Session(home, identity="alice@example.com"), roles=roles, ttl=60)
    assert "approver, auditor, operator, requester" in str(caught.value.why)


async def test_a_home_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        await token(Session(Home.at(tmp_path / "none")), roles="approver", ttl=60)
    assert "placet up" in caught.value.tries
