"""Services as an installation with its own authorities runs them: TLS, and tokens of its own issuer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.decision.v1 import decision_service_pb2, decision_service_pb2_grpc
from placet_proof.signer import new_key
from placet_rpc.client import channel, serving
from placet_rpc.errors import PermissionDenied, PlacetError, Unauthenticated, Unavailable
from placet_rpc.tls import ClientTls
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint, mint_for_program, write_token
from placet_testing.attestation import write_keys
from placet_testing.certificates import Authority
from placet_testing.tokens import StaticToken

pytestmark = pytest.mark.integration

ISSUER, AUDIENCE = "https://login.example.com", "placet-production"
BOUND = 60.0


@dataclass
class Installation:
    """Two services, one of which calls the other, that speak TLS with everybody."""

    authority: Authority
    keys: KeyFiles
    audit: str
    decision: str

    @property
    def own(self) -> ClientTls:
        """Credentials of a caller of this installation."""
        pair = self.authority.issue("caller")
        return ClientTls(self.authority.certificate, pair.certificate, pair.private_key)

    def token(self, *roles: str, issuer: str = ISSUER, audience: str = AUDIENCE) -> StaticToken:
        key = SigningKey.load(self.keys.private_key)
        return StaticToken(
            mint(key, "alice@example.com", "home", roles, 600, issuer=issuer, audience=audience)
        )

    async def assess(self, token: StaticToken, tls: ClientTls | None) -> PlacetError:
        """The refusal that an unauthorised caller gets."""
        request = decision_service_pb2.AssessRiskRequest()  # nothing is parsed for who may not call
        async with channel(self.decision, token, tls=tls) as opened:
            with pytest.raises(PlacetError) as refusal:
                await decision_service_pb2_grpc.DecisionServiceStub(opened).AssessRisk(request)
        return refusal.value

    async def recorded(self) -> str:
        """The method of the first refusal that the log holds, as soon as it does."""
        async with channel(self.audit, self.token("auditor"), tls=self.own) as opened:
            tail = audit_service_pb2_grpc.AuditServiceStub(opened).TailEvents(
                audit_service_pb2.TailEventsRequest(from_log_index=0)
            )
            async with asyncio.timeout(BOUND):
                async for answer in tail:
                    for entry in answer.entries:
                        tail.cancel()
                        return entry.entry.event.access_refused.method
        raise AssertionError("the tail ended")


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    tmp_path = tmp_path_factory.mktemp("installation")
    authority, keys = Authority(tmp_path / "tls"), generate_keys(tmp_path / "keys")
    ports = _free_ports(2)
    installed = Installation(authority, keys, *(f"127.0.0.1:{port}" for port in ports))
    server, client = authority.issue("server"), authority.issue("decision")
    token = tmp_path / "decision.token"
    key = SigningKey.load(keys.private_key)
    write_token(token, mint_for_program(key, "decision", "home", 600, issuer=ISSUER, audience=AUDIENCE))
    told = {
        "PLACET_JWKS_FILE": keys.jwks,
        "PLACET_JWT_ISSUER": ISSUER,
        "PLACET_JWT_AUDIENCE": AUDIENCE,
        "PLACET_TLS_CERTIFICATE_FILE": server.certificate,
        "PLACET_TLS_KEY_FILE": server.private_key,
        "PLACET_TLS_CLIENT_CA_FILE": authority.certificate,
        "PLACET_TLS_CA_FILE": authority.certificate,
        "PLACET_TLS_CLIENT_CERTIFICATE_FILE": client.certificate,
        "PLACET_TLS_CLIENT_KEY_FILE": client.private_key,
        "PLACET_TOKEN_FILE": token,
        "PLACET_AUDIT_LISTEN": installed.audit,
        "PLACET_AUDIT_ADDRESS": installed.audit,
        "PLACET_AUDIT_DATABASE_URL": f"sqlite:///{tmp_path / 'audit.db'}",
        "PLACET_AUDIT_LOG_KEY": new_key(),
        "PLACET_ATTESTATION_KEYS_FILE": write_keys(tmp_path)[1],
        "PLACET_DECISION_LISTEN": installed.decision,
        "PLACET_DECISION_DATABASE_URL": f"sqlite:///{tmp_path / 'decision.db'}",
    }
    environment = os.environ | {name: str(value) for name, value in told.items()}
    async with AsyncExitStack() as stack:
        for module, address in (("placet_audit", installed.audit), ("placet_decision", installed.decision)):
            await stack.enter_async_context(_running(module, environment))
            await _until_probed(address, environment)
        yield installed


async def test_calls_go_over_tls_from_caller_to_service_to_service_and_in_no_other_way(
    installation: Installation,
) -> None:
    refusal = await installation.assess(installation.token("requester"), installation.own)
    assert isinstance(refusal, PermissionDenied)
    # DecisionService told AuditService of it, with its own certificate and token.
    assert await installation.recorded() == "/placet.decision.v1.DecisionService/AssessRisk"

    for tls in (None, ClientTls(installation.authority.certificate)):
        stranger = await installation.assess(installation.token("requester"), tls)
        assert isinstance(stranger, Unavailable)
        assert not await serving(installation.audit, tls=tls)


@pytest.mark.parametrize("wrong", [{"issuer": "placet-embedded"}, {"audience": "placet"}])
async def test_tokens_of_another_issuer_or_for_another_audience_are_refused(
    installation: Installation, wrong: dict[str, str]
) -> None:
    token = installation.token("requester", **wrong)
    assert isinstance(await installation.assess(token, installation.own), Unauthenticated)


def _free_ports(number: int) -> list[int]:
    """Taken together, so that they differ."""
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@asynccontextmanager
async def _running(module: str, environment: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _until_probed(address: str, environment: dict[str, str]) -> None:
    """Until the health probe of the images says yes, which is told nothing but the environment."""
    async with asyncio.timeout(BOUND):
        while True:
            probe = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "placet_rpc.probe", address, env=environment
            )
            if await probe.wait() == 0:
                return
