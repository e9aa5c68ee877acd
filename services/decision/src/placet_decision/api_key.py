"""The provider's API key, from a file that may be replaced while the service runs."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

_LOG = logging.getLogger("placet.decision.api_key")


class ApiKeyFile:
    """The key in a file, read for every call of the model: that takes seconds, and reading microseconds."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the file cannot be read, ValueError if it holds no key."""
        self._path = path
        self._key = self._read()
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            _LOG.warning("other users may read the key in %s; run chmod 600 on it", path)

    def __call__(self) -> str:
        """The key in the file, or the last valid one."""
        try:
            self._key = self._read()
        except (OSError, ValueError) as error:
            _LOG.warning("using the key that was read before: %s", error)
        return self._key

    def _read(self) -> str:
        key = self._path.read_bytes().decode("ascii", errors="replace").strip()
        # It becomes part of a header. The error does not repeat it.
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"{self._path} holds no key; write the provider's API key into it")
        return key
