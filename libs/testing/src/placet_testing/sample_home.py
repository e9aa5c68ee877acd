"""A home whose log a real AuditService wrote, for tests that change it behind its back."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from placet_cli.home import Home
from placet_devstack.secrets import make_keys
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.attestation import write_keys
from placet_testing.audit_server import AuditServer
from placet_testing.sample_log import Logbook, Writer, write_sample
from placet_verify import Check, Finding, KnownKeys, Seen, Source, Verification


@dataclass(frozen=True)
class SampleLog:
    """The log in its home, which no test changes; its rows, of which each takes copies; its key."""

    home: Home
    rows: Logbook
    keys: KnownKeys
    stolen_key: Ed25519PrivateKey

    def findings(
        self,
        source: Source,
        *,
        seen: Sequence[Seen] = (),
        tenant: str = "",
        without: Collection[Check] = (),
    ) -> list[Finding]:
        """Findings of the verifier for a source."""
        verification = Verification(source, self.keys, seen=seen, tenant=tenant, without=without)
        for _ in verification.run():
            pass
        return list(verification.findings)

    def home_with(self, rows: Logbook, folder: Path) -> Home:
        """A home like this one, in which the log has these rows."""
        home = Home.at(folder)
        shutil.copytree(self.home.path, home.path)
        rows.write(home.database("audit"))
        return home


async def make_sample(folder: Path) -> SampleLog:
    """Writes the sample's log through a server that is gone when this returns."""
    home = Home.at(folder)
    home.prepare()
    write_keys(home.keys)
    make_keys(home)
    keys = KeyFiles.below(home.keys)
    server = AuditServer(home.path / "data", keys, log_key=home.log_key.read_text())
    await server.start()
    try:
        await write_sample(Writer(server.address, keys))
    finally:
        await server.stop()
    pem = home.log_key.read_text()
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return SampleLog(
        home,
        Logbook.read(home.database("audit")),
        KnownKeys().with_pem(pem).with_lines(home.attestation_keys.read_text()),
        key,
    )


@pytest.fixture(scope="session")
async def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleLog:
    """A log that a real AuditService wrote. No test changes it."""
    return await make_sample(tmp_path_factory.mktemp("sample") / "home")
