"""With certificates configured, the same calls go over TLS, and only to who can prove itself."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1 import audit_service_pb2_grpc
from placet_rpc import errors
from placet_rpc.client import channel, serving


def self_signed(folder: Path) -> dict[str, Path]:
    """A key and its own certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "placet test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    files = {"certificate": folder / "certificate.pem", "private_key": folder / "key.pem"}
    files["certificate"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files["private_key"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
    return pb.ListEventsResponse(size=1)


async def test_a_tls_server_is_reached_by_who_trusts_it_and_by_nobody_else(
    run_audit: Any, keys: Any, tmp_path: Path
) -> None:
    files, other = self_signed(tmp_path / "own"), self_signed(tmp_path / "other")
    token = keys.token("auditor")
    async with run_audit(changes={"tls": files}, ListEvents=empty) as audit:
        async with channel(audit.address, token, tls_ca=files["certificate"]) as trusting:
            stub = audit_service_pb2_grpc.AuditServiceStub(trusting)
            assert (await stub.ListEvents(pb.ListEventsRequest())).size == 1
        assert await serving(audit.address, tls_ca=files["certificate"])

        for tls_ca in (other["certificate"], None):
            async with channel(audit.address, token, tls_ca=tls_ca) as stranger:
                stub = audit_service_pb2_grpc.AuditServiceStub(stranger)
                with pytest.raises(errors.Unavailable):
                    await stub.ListEvents(pb.ListEventsRequest())
