"""Certificates for tests: an authority, and what it signs for 127.0.0.1."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BEFORE, _AFTER = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """PEM files of one who can prove who it is."""

    certificate: Path
    private_key: Path


class Authority:
    """Signs certificates that are good for an hour. Its own is in `certificate`, for those who trust it."""

    def __init__(self, folder: Path) -> None:
        """Makes its key; `folder` is made, and takes all files."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._name = _name(f"placet test authority {folder.name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / "authority.pem"
        signed = self._certificate(self._name, self._key.public_key(), x509.BasicConstraints(True, None))
        self.certificate.write_bytes(signed)

    def issue(self, name: str) -> Pair:
        """A key, and a certificate for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key.pem")
        pair.certificate.write_bytes(self._certificate(_name(name), key.public_key(), here))
        pair.private_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _AFTER)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
