"""What every program that calls services is told of them, by environment variables.

Apart from `service_settings`, so that a caller imports no server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from placet_rpc.client import ClientTls
from placet_rpc.tls_variables import TlsVariables


class CallerSettings(TlsVariables):
    """How a program reaches Placet's services."""

    tls_ca_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CA_FILE")
    """PEM file of the authority that services' certificates are checked with. Unset: services speak plain."""

    tls_own_certificate_file: Path | None = Field(
        default=None, validation_alias="PLACET_TLS_CLIENT_CERTIFICATE_FILE"
    )
    """PEM file of the certificate that this caller shows to services that want one."""

    tls_own_key_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CLIENT_KEY_FILE")
    """PEM file of that certificate's private key."""

    @model_validator(mode="after")
    def _own_tls_files_fit(self) -> Self:
        if (self.tls_own_certificate_file is None) != (self.tls_own_key_file is None):
            raise ValueError("PLACET_TLS_CLIENT_CERTIFICATE_FILE and PLACET_TLS_CLIENT_KEY_FILE go together")
        if self.tls_own_certificate_file is not None and self.tls_ca_file is None:
            raise ValueError("PLACET_TLS_CLIENT_CERTIFICATE_FILE needs PLACET_TLS_CA_FILE")
        return self

    def tls(self) -> ClientTls | None:
        """What `placet_rpc.client.channel` needs of these; None: plain."""
        if self.tls_ca_file is None:
            return None
        return ClientTls(self.tls_ca_file, self.tls_own_certificate_file, self.tls_own_key_file)
