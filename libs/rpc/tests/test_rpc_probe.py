"""A container's health is what its server says of itself."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.integration


async def probe(*arguments: str) -> int:
    """The exit status of the command that health checks run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_rpc.probe", *arguments, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def test_a_probe_succeeds_only_while_the_server_serves(run_audit: Any) -> None:
    async with run_audit() as audit:
        assert await probe(audit.address, "--timeout", "20") == 0
        assert await probe(audit.address, "--service", "placet.audit.v1.AuditService", "--timeout", "20") == 0
        assert await probe(audit.address, "--service", "placet.audit.v1.Another", "--timeout", "20") == 1
    assert await probe(audit.address, "--timeout", "0.5") == 1


async def test_a_probe_without_an_address_says_that_it_was_called_wrongly() -> None:
    assert await probe() == 2


async def test_a_probe_that_is_told_half_of_tls_does_not_speak_plain(
    run_audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_TLS_CA_FILE", "")
    async with run_audit() as audit:
        assert await probe(audit.address, "--timeout", "20") == 2
