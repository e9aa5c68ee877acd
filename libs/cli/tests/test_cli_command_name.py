"""Commands that a user can paste, wherever `placet` is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from placet_cli import command_name
from placet_cli.command_name import pasted
from placet_cli.home import typed

OWN = Path(sys.executable).parent / "placet"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The name is looked up once for each process."""
    command_name._program.cache_clear()
    yield
    command_name._program.cache_clear()


def test_on_the_path_it_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: str(OWN))
    assert pasted("placet list --mine") == "placet list --mine"


def test_off_the_path_it_is_called_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert pasted("placet list") == f"{typed(OWN)} list"
    assert pasted("placet") == typed(OWN)


def test_another_placet_on_the_path_is_not_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "placet"
    other.write_text("")
    monkeypatch.setattr(shutil, "which", lambda name: str(other))
    assert pasted("placet list") == f"{typed(OWN)} list"


def test_other_steps_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert pasted("make install") == "make install"
    assert pasted("the same command again") == "the same command again"
