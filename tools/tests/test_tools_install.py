"""Promises of an installation beyond being complete."""

from __future__ import annotations

from pathlib import Path

import pytest

import install

pytestmark = pytest.mark.integration


@pytest.mark.integration
def test_sources_are_compiled_ahead_and_a_broken_one_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "sample"
    package.mkdir(parents=True)
    (package / "broken.py").write_text("def :\n")
    (package / "sound.py").write_text("ANSWER = 42\n")
    monkeypatch.setattr(install, "members", lambda: [tmp_path])

    install.compile_sources()

    assert [path.name.split(".")[0] for path in package.rglob("*.pyc")] == ["sound"]


def test_every_source_and_stub_counts_for_the_bytecode() -> None:
    found = {path.relative_to(install.ROOT).parts[:2] for path in install.sources()}

    assert {("libs", "protos"), ("libs", "rpc"), ("services", "approval"), ("workers", "default")} <= found
