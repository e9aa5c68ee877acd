"""What every service is told about its door, by environment variables. Its own settings extend these."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from placet_rpc.server import ServerSettings, TlsFiles
from placet_rpc.tls_variables import TlsVariables
from placet_rpc.tokens import AUDIENCE, ISSUER


class ServiceSettings(TlsVariables):
    """A service's door."""

    listen: str
    """host:port to serve on."""

    jwks_file: Path = Field(default=Path(".placet/keys/jwks.json"), validation_alias="PLACET_JWKS_FILE")
    """The public keys that callers' tokens are checked with."""

    jwt_issuer: str = Field(default=ISSUER, min_length=1, validation_alias="PLACET_JWT_ISSUER")
    """Who must have issued callers' tokens (their claim `iss`)."""

    jwt_audience: str = Field(default=AUDIENCE, min_length=1, validation_alias="PLACET_JWT_AUDIENCE")
    """For whom callers' tokens must be meant (their claim `aud`)."""

    tls_certificate_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CERTIFICATE_FILE")
    """PEM file of the service's certificate and its chain. Unset: plain, for trusted networks only."""

    tls_key_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_KEY_FILE")
    """PEM file of that certificate's private key."""

    tls_client_ca_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CLIENT_CA_FILE")
    """PEM file of the authority whose certificate callers must show. Unset: they need none."""

    reflection: bool = False
    """Whether the contracts can be read from the server."""

    grace: float = Field(default=10, ge=0)
    """Seconds that calls in flight get when the service stops."""

    @model_validator(mode="after")
    def _tls_files_fit(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("PLACET_TLS_CERTIFICATE_FILE and PLACET_TLS_KEY_FILE go together")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("PLACET_TLS_CLIENT_CA_FILE needs PLACET_TLS_CERTIFICATE_FILE")
        return self

    def server(self) -> ServerSettings:
        """What `placet_rpc.server` needs of these."""
        return ServerSettings(
            listen=self.listen,
            jwks_file=self.jwks_file,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            tls=self._tls_files(),
            reflection=self.reflection,
            grace=self.grace,
        )

    def _tls_files(self) -> TlsFiles | None:
        if self.tls_certificate_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(
            certificate=self.tls_certificate_file,
            private_key=self.tls_key_file,
            client_ca=self.tls_client_ca_file,
        )
