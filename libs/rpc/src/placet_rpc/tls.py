"""TLS files of servers and clients, and the credentials that gRPC makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

# Prefix of the environment variables that name TLS files.
TLS_PREFIX: Final = "PLACET_TLS_"


@dataclass(frozen=True)
class ServerTls:
    """PEM files of a server. `client_ca`: the authority whose certificate callers must show."""

    certificate: Path
    private_key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Reads the files once: a renewed certificate is shown after the next start. Raises OSError."""
        pair = (self.private_key.read_bytes(), self.certificate.read_bytes())
        authority = None if self.client_ca is None else self.client_ca.read_bytes()
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)


@dataclass(frozen=True)
class ClientTls:
    """PEM files of a client: the authority that it trusts, and its own certificate where servers want one."""

    ca: Path
    certificate: Path | None = None
    private_key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises OSError."""
        key, chain = (
            None if file is None else file.read_bytes() for file in (self.private_key, self.certificate)
        )
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key, chain)
