"""Checks that `requirements.txt` satisfies every `pyproject.toml`; not that it is the newest."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from install import REQUIREMENTS, ROOT, members
from workspace import declared, packages, pins


def version_of(pin: Requirement) -> str:
    """The version that a pin names."""
    (specifier,) = pin.specifier
    return specifier.version


def unsatisfied(needs: Iterable[Requirement], pinned: Iterable[Requirement]) -> list[str]:
    """Requirements that no pin satisfies, in words."""
    versions = {
        canonicalize_name(pin.name): version_of(pin)
        for pin in pinned
        if pin.marker is None or pin.marker.evaluate()
    }
    complaints = []
    for need in needs:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        version = versions.get(canonicalize_name(need.name))
        if version is None:
            complaints.append(f"{need} is not pinned")
        elif not need.specifier.contains(version, prereleases=True):
            complaints.append(f"{need} is not satisfied by the pin {version}")
    return complaints


def main() -> int:
    ours = packages()
    pinned = pins(REQUIREMENTS.read_text())
    found = False
    for folder in [ROOT, *members()]:
        path = folder / "pyproject.toml"
        needs = [need for need in declared(path.read_text()) if canonicalize_name(need.name) not in ours]
        for complaint in unsatisfied(needs, pinned):
            print(f"{path.relative_to(ROOT)}: {complaint}; run `make lock`")
            found = True
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
