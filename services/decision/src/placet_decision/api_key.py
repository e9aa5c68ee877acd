"""The provider's API key, from a file that may be replaced while the service runs."""

from __future__ import annotations

import logging
from pathlib import Path

from placet_rpc.files import is_private

_LOG = logging.getLogger(__name__)


class ApiKeyFile:
    """The key in a file, read for every call of the model: that takes seconds, and reading microseconds."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be read, ValueError if it holds no key."""
        self._path = path
        self._key = self._read()
        if not is_private(path):
            _LOG.warning("%s can be read by others; make it private with: chmod 600 %s", path, path)

    def __call__(self) -> str:
        """The key in the file, or the last valid one."""
        try:
            self._key = self._read()
        except (OSError, ValueError) as error:
            _LOG.warning("using the API key that was read before: %s", error)
        return self._key

    def _read(self) -> str:
        key = self._path.read_bytes().decode("ascii", errors="replace").strip()
        # It becomes part of a header. The error does not repeat it.
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"{self._path} holds no key; write the provider's API key into it")
        return key
