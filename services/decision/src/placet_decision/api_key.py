"""The key for the model's provider, from a file that can be replaced while the service runs."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

_LOG = logging.getLogger("placet.decision.api_key")


class ApiKeyFile:
    """The key in a file, read at every call of the model: seconds pass there, microseconds here."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when it cannot be read, ValueError when there is no key in it."""
        self._path = path
        self._key = self._read()
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            _LOG.warning("others may read the key in %s: chmod 600 it", path)

    def __call__(self) -> str:
        """The key; the last one that was good, while there is none."""
        try:
            self._key = self._read()
        except (OSError, ValueError) as error:
            _LOG.warning("going on with the key that was read before: %s", error)
        return self._key

    def _read(self) -> str:
        key = self._path.read_bytes().decode("ascii", errors="replace").strip()
        # Part of a header: what could not be one is not a key. It is not repeated here.
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"there is no key in {self._path}")
        return key
