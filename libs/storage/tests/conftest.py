"""A package with two migrations, as a service has them, and a hand to hold its transactions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from placet_storage import Database

_ENV = """
from placet_storage import run_migrations_env
from {package}.store import metadata
run_migrations_env(metadata)
"""
_STORE = """
from sqlalchemy import Column, Integer, MetaData, String, Table
from placet_storage import UtcDateTime

metadata = MetaData()
note = Table(
    "note",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", String, nullable=False),
    Column("written_at", UtcDateTime),
)
"""
_FIRST = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

def upgrade():
    op.create_table(
        "note",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.String, nullable=False),
    )
"""
_SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade():
    with op.batch_alter_table("note") as table:
        table.add_column(sa.Column("written_at", sa.DateTime(timezone=True)))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable package with tables and migrations."""
    name = f"sample_{tmp_path.name}"
    files = {
        "__init__.py": "",
        "store.py": _STORE,
        "migrations/env.py": _ENV.format(package=name),
        "migrations/versions/0001_note.py": _FIRST,
        "migrations/versions/0002_written_at.py": _SECOND,
    }
    for path, text in files.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
async def database(database_url: str, package: str) -> AsyncIterator[Database]:
    """An open database of each kind."""
    opened = await Database.open(database_url, migrations=package)
    yield opened
    await opened.close()


class Pause:
    """Holds a transaction's thread between two points until it is let go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        self._go_on = threading.Event()

    def here(self) -> None:
        """Called in the transaction: says that it has begun, and holds it."""
        self._loop.call_soon_threadsafe(self._begun.set)
        assert self._go_on.wait(30)

    async def begun(self) -> None:
        """Waits until a transaction is held."""
        async with asyncio.timeout(30):
            await self._begun.wait()

    def end(self) -> None:
        """Lets it go on."""
        self._go_on.set()


@pytest.fixture
async def pause() -> AsyncIterator[Pause]:
    """Holds a transaction, at the latest until the test ends."""
    pause = Pause()
    yield pause
    pause.end()
