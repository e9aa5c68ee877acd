"""Distribution of the suite over test processes."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

ONE_AT_A_TIME = ("tests/chaos/", "tests/e2e/")


class Spread(LoadFileScheduling):  # type: ignore[misc]  # xdist publishes no types
    """By file; but of those that start a whole stack no more than two run at a time, one that kills and one
    that looks: more would starve each other, and all in a row are most of the suite's time.

    Marks (`xdist_group`) would say the same, but xdist 3.8 no longer gets them into the ids of pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((folder for folder in ONE_AT_A_TIME if file.startswith(folder)), file)


@pytest.hookimpl(tryfirst=True, optionalhook=True)  # before xdist's own, which takes its stock scheduler
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread | None:
    """Takes over where `--dist=loadfile` is asked for."""
    return Spread(config, log) if config.getvalue("dist") == "loadfile" else None
