"""How the suite is spread over processes."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
ONE_AT_A_TIME = {HERE / "e2e", HERE / "chaos"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps on one process what starts, times or kills a whole stack; two at once would starve each other."""
    for item in items:
        if ONE_AT_A_TIME & set(item.path.parents):
            item.add_marker(pytest.mark.xdist_group("stack"))
