"""With certificates configured, the same calls go over TLS, and only to who can prove itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc import errors
from placet_rpc.client import channel, serving, tls_from_environment
from placet_rpc.settings import CallerSettings, ServiceSettings
from placet_rpc.tls import ClientTls
from placet_testing.certificates import Authority


async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
    return pb.ListEventsResponse(size=1)


async def size_seen(address: str, token: Any, tls: ClientTls | None) -> int:
    async with channel(address, token, tls=tls) as opened:
        answer = await audit_service_pb2_grpc.AuditServiceStub(opened).ListEvents(pb.ListEventsRequest())
    return int(answer.size)


@pytest.mark.integration
async def test_a_tls_server_is_reached_by_who_trusts_it_and_by_nobody_else(
    run_audit: Any, keys: Any, tmp_path: Path
) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    token = keys.token("auditor")
    async with run_audit(changes={"tls": vars(ours.issue("audit"))}, ListEvents=empty) as audit:
        assert await size_seen(audit.address, token, ClientTls(ours.certificate)) == 1
        assert await serving(audit.address, tls=ClientTls(ours.certificate))

        for tls in (ClientTls(other.certificate), None):
            with pytest.raises(errors.Unavailable):
                await size_seen(audit.address, token, tls)


@pytest.mark.integration
async def test_a_server_that_wants_a_certificate_is_reached_by_nobody_without_one_of_its_authority(
    run_audit: Any, keys: Any, tmp_path: Path
) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    token, trusted = keys.token("auditor"), ours.certificate
    files = {**vars(ours.issue("audit")), "client_ca": ours.certificate}
    async with run_audit(changes={"tls": files}, ListEvents=empty) as audit:
        caller, stranger = ours.issue("caller"), other.issue("stranger")
        own = ClientTls(trusted, caller.certificate, caller.private_key)
        assert await size_seen(audit.address, token, own) == 1

        for tls in (ClientTls(trusted), ClientTls(trusted, stranger.certificate, stranger.private_key)):
            with pytest.raises(errors.Unavailable):
                await size_seen(audit.address, token, tls)


class ServedSettings(ServiceSettings):
    """As each service extends them."""

    listen: str = "127.0.0.1:0"


@pytest.mark.parametrize(
    ("settings", "variables", "missing"),
    [
        (ServedSettings, ["PLACET_TLS_CERTIFICATE_FILE"], "PLACET_TLS_KEY_FILE"),
        (ServedSettings, ["PLACET_TLS_KEY_FILE"], "PLACET_TLS_CERTIFICATE_FILE"),
        (ServedSettings, ["PLACET_TLS_CLIENT_CA_FILE"], "PLACET_TLS_CERTIFICATE_FILE"),
        (CallerSettings, ["PLACET_TLS_CA_FILE", "PLACET_TLS_CLIENT_KEY_FILE"], "_CLIENT_CERTIFICATE_FILE"),
        (
            CallerSettings,
            ["PLACET_TLS_CLIENT_CERTIFICATE_FILE", "PLACET_TLS_CLIENT_KEY_FILE"],
            "PLACET_TLS_CA_FILE",
        ),
    ],
)
def test_half_of_a_tls_configuration_is_refused_by_the_name_of_the_other_half(
    monkeypatch: pytest.MonkeyPatch,
    settings: type[ServedSettings | CallerSettings],
    variables: list[str],
    missing: str,
) -> None:
    for variable in variables:
        monkeypatch.setenv(variable, "some.pem")
    with pytest.raises(ValueError, match=missing):
        settings()


CALLERS_VARIABLES = (
    "PLACET_TLS_CA_FILE",
    "PLACET_TLS_CLIENT_CERTIFICATE_FILE",
    "PLACET_TLS_CLIENT_KEY_FILE",
)


@pytest.mark.parametrize("authority", [None, ""])
def test_a_caller_with_a_certificate_and_no_authority_speaks_to_nobody(
    monkeypatch: pytest.MonkeyPatch, authority: str | None
) -> None:
    monkeypatch.setenv("PLACET_TLS_CLIENT_CERTIFICATE_FILE", "own.pem")
    monkeypatch.setenv("PLACET_TLS_CLIENT_KEY_FILE", "own.key")
    if authority is not None:
        monkeypatch.setenv("PLACET_TLS_CA_FILE", authority)
    with pytest.raises(ValueError, match=r"^PLACET_TLS_C.*PLACET_TLS_CA_FILE|^PLACET_TLS_CA_FILE is set"):
        tls_from_environment()


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        *((CallerSettings, name) for name in CALLERS_VARIABLES),
        (ServedSettings, "PLACET_TLS_CERTIFICATE_FILE"),
        (ServedSettings, "PLACET_TLS_KEY_FILE"),
        (ServedSettings, "PLACET_TLS_CLIENT_CA_FILE"),
    ],
)
def test_an_empty_tls_variable_is_refused_by_its_name_and_never_taken_for_plain(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServedSettings | CallerSettings], variable: str
) -> None:
    monkeypatch.setenv(variable, "")
    with pytest.raises(ValueError, match=f"{variable} is set but empty"):
        settings()
    if settings is CallerSettings:
        with pytest.raises(ValueError, match=f"^{variable} is set but empty"):
            tls_from_environment()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("listen", "warned"),
    [("0.0.0.0:0", True), ("[::]:0", True), ("127.0.0.1:0", False), ("localhost:0", False)],
)
async def test_a_server_that_speaks_plain_to_other_machines_says_so_at_its_start(
    run_audit: Any, caplog: pytest.LogCaptureFixture, listen: str, warned: bool
) -> None:
    async with run_audit(changes={"listen": listen}):
        assert ("no TLS" in caplog.text) is warned


@pytest.mark.integration
async def test_a_server_that_speaks_tls_to_other_machines_has_nothing_to_warn_of(
    run_audit: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    files = vars(Authority(tmp_path / "tls").issue("audit"))
    async with run_audit(changes={"listen": "0.0.0.0:0", "tls": files}):
        assert "no TLS" not in caplog.text
