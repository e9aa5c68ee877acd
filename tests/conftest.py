"""How the suite is spread over processes."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

ONE_AT_A_TIME = ("tests/e2e/", "tests/chaos/")


class Spread(LoadFileScheduling):  # type: ignore[misc]  # xdist publishes no types
    """By file; but all that starts or kills a whole stack stays together, so that no two starve each other.

    Marks (`xdist_group`) would say the same, but xdist 3.8 no longer gets them into the ids of pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith(ONE_AT_A_TIME) else nodeid.split("::", 1)[0]


@pytest.hookimpl(tryfirst=True, optionalhook=True)  # before xdist's own, which takes its stock scheduler
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread | None:
    """Takes over where `--dist=loadfile` is asked for."""
    return Spread(config, log) if config.getvalue("dist") == "loadfile" else None
