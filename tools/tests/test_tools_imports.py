"""Files of one package that import each other in a circle are found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from install import VENV

pytestmark = pytest.mark.integration

CONFIGURATION = """
[tool.importlinter]
root_packages = ["sample"]
[[tool.importlinter.contracts]]
name = "one direction"
type = "acyclic_siblings"
ancestors = ["sample"]
"""


@pytest.mark.parametrize(
    ("store", "kept"),
    [
        ("", True),
        ("from sample.rooms import content\n", False),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sample.rooms import content\n",
            False,
        ),
        ("def late() -> None:\n    from sample.rooms import content\n", False),
    ],
)
def test_a_cycle_is_found_also_where_it_is_for_types_or_late(tmp_path: Path, store: str, kept: bool) -> None:
    (tmp_path / "sample" / "rooms").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "store.py": store,
        "rooms/__init__.py": "",
        "rooms/content.py": "from sample import store\n",
    }.items():
        (tmp_path / "sample" / name).write_text(text)
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)

    finished = subprocess.run(
        [str(VENV / "bin" / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert (finished.returncode == 0) is kept
