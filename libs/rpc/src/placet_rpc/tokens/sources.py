"""Token sources of callers. `mint.MintingTokenSource` is for holders of the key."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from placet_rpc.errors import RPC_DOMAIN, Unauthenticated
from placet_rpc.files import version_of


class TokenSource(Protocol):
    """Gives a client the token of each call."""

    def token(self) -> str:
        """A token that is valid now. Called for every RPC, so it must be quick. Raises Unauthenticated."""
        ...


class FileTokenSource:
    """The token in a file, read again whenever the file is replaced."""

    def __init__(self, path: Path) -> None:
        """Reads nothing yet: the file may appear later."""
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._token = ""

    def token(self) -> str:
        """The file's token; the last one read, while the file is away. Raises Unauthenticated without any."""
        try:
            version = version_of(self._path)
            if version != self._version:
                self._token = self._path.read_text().strip()
                self._version = version
        except OSError as error:
            if not self._token:
                raise _missing(self._path, error.strerror or str(error)) from error
        if not self._token:
            raise _missing(self._path, "it is empty")
        return self._token


def _missing(path: Path, why: str) -> Unauthenticated:
    return Unauthenticated(f"there is no token in {path}: {why}", reason="TOKEN_MISSING", domain=RPC_DOMAIN)
