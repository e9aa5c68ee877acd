"""Private files and atomic writes, for keys, tokens and state that a program keeps on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def read_private(path: Path) -> bytes:
    """Content of a secret file. Raises OSError, or ValueError if others than its owner can read it."""
    with path.open("rb") as file:
        # The mode of the opened file, not of whatever has the name a moment earlier.
        if _open_to_others(os.fstat(file.fileno())):
            raise ValueError(f"{path} can be read by others; make it private with: chmod 600 {path}")
        return file.read()


def is_private(path: Path) -> bool:
    """True if nobody but its owner can read or write `path`. Raises OSError."""
    return not _open_to_others(path.stat())


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replaces `path` in one step, with `mode` from its first moment on. Raises OSError.

    `durable`: returns once content and name are on the disk. Otherwise a power cut may undo the write.
    """
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, mode: int = 0o600, durable: bool = True) -> Iterator[IO[bytes]]:
    """Opens a new file that takes the place of `path` when the block ends without an error.

    Until then, and after an error, `path` is as before. Raises OSError.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Brings a folder's names to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def version_of(path: Path) -> tuple[int, int, int]:
    """A value that changes when the file is replaced or rewritten. Raises OSError."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _open_to_others(status: os.stat_result) -> bool:
    return bool(status.st_mode & 0o077)
