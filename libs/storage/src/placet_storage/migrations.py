"""Schema migrations, run when a database is opened."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError

from placet_storage.engines import PATIENCE, Location, execute, open_for_migration
from placet_storage.errors import MigrationFailed, translated

# Alembic keeps its context in module globals, so one upgrade runs at a time in a process.
_alembic = threading.Lock()


def upgrade(location: Location, package: str) -> None:
    """Runs the migrations in the folder `migrations` of `package` up to the newest, in one transaction.

    Blocks. Several processes may call it at once: one migrates, the others wait. Raises DatabaseUnavailable,
    or MigrationFailed if the database's revision is unknown or a migration fails; then nothing is changed.
    """
    if location.dialect == "sqlite" and location.url.database:
        Path(location.url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        with _alembic, translated(), _locked_connection(location, package) as connection:
            _upgrade(connection, package)
    except (CommandError, DBAPIError, sqlite3.Error) as error:
        raise MigrationFailed(f"the database of {package} cannot be migrated: {error}") from error


def _upgrade(connection: Connection, package: str) -> None:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.attributes["connection"] = connection
    if not _is_current(config, connection):
        command.upgrade(config, "head")


def run_migrations_env(metadata: MetaData) -> None:
    """Runs the migrations: the whole of a package's `migrations/env.py`, which Alembic executes.

    `metadata`: the package's tables, for `alembic revision --autogenerate` and for its tests.
    """
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot alter most of a table in place; Alembic rebuilds it instead.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    # The caller has begun the transaction and holds the lock.
    context.run_migrations()


def _is_current(config: Config, connection: Connection) -> bool:
    heads = set(ScriptDirectory.from_config(config).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads


@contextmanager
def _locked_connection(location: Location, package: str) -> Iterator[Connection]:
    """Begins a transaction that excludes other migrators of the same database."""
    engine = open_for_migration(location)
    try:
        with engine.connect() as connection:
            if location.dialect == "sqlite":
                _switch_to_wal(connection)
            with connection.begin():  # In SQLite this takes the write lock.
                if location.dialect == "postgresql":
                    connection.execute(
                        text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(package)}
                    )
                yield connection
    finally:
        engine.dispose()


def _switch_to_wal(connection: Connection) -> None:
    """Sets the journal mode, which the file keeps.

    SQLite's busy timeout does not cover two processes that set it at once, so this retries.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            execute(connection.connection, "PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _lock_key(package: str) -> int:
    digest = hashlib.sha256(f"placet migrations of {package}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
