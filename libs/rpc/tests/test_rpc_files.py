"""Secrets that others can read are refused, and a write is all or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from placet_rpc.files import is_private, read_private, replacing, version_of, write_atomically


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o602])
def test_a_secret_is_read_only_where_nobody_else_can(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    private = not mode & 0o077

    assert is_private(path) is private
    if private:
        assert read_private(path) == b"secret"
    else:
        with pytest.raises(ValueError, match=f"make it private with: chmod 600 {path}"):
            read_private(path)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", ["text", b"bytes"])
def test_a_written_file_has_its_mode_and_replaces_the_one_before(
    tmp_path: Path, content: str | bytes, durable: bool
) -> None:
    path = tmp_path / "state"
    path.write_text("before")
    before = version_of(path)

    write_atomically(path, content, mode=0o640, durable=durable)

    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert version_of(path) != before
    assert os.listdir(tmp_path) == ["state"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_half()

    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["state"]
