"""The scripts read the workspace rightly, and the lists that name every member name every member."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from install import REQUIREMENTS, ROOT, InstallError, uv_requirement
from pins import unsatisfied
from wheels import modules
from workspace import Package, closure, declared, packages, pins

REQUIREMENTS_TEXT = """\
# a comment
grpcio==1.85.1 \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via placet-rpc
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:02
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:03
uv==0.13.9 \\
    --hash=sha256:04 \\
    --hash=sha256:05
    # via placet (pyproject.toml)
"""


def test_the_pin_of_uv_is_cut_out_with_all_its_hashes() -> None:
    assert (
        uv_requirement(REQUIREMENTS_TEXT) == "uv==0.13.9 \\\n    --hash=sha256:04 \\\n    --hash=sha256:05\n"
    )


def test_requirements_without_uv_say_what_to_do() -> None:
    with pytest.raises(InstallError, match="make lock"):
        uv_requirement("grpcio==1.85.1\n")


def test_pins_are_read_without_hashes_and_with_their_platforms() -> None:
    assert [pin.name for pin in pins(REQUIREMENTS_TEXT)] == ["grpcio", "numpy", "numpy", "uv"]


@pytest.mark.parametrize(
    ("need", "complaints"),
    [
        ("grpcio>=1.85", 0),
        ("GRPCIO", 0),
        ("numpy>=2.4", 0),
        ("grpcio>=1.86", 1),
        ("protobuf", 1),
        ("protobuf ; sys_platform == 'win32'", 0),
        ("protobuf ; extra == 'more'", 0),
    ],
)
def test_a_need_that_no_pin_satisfies_is_named(need: str, complaints: int) -> None:
    assert len(unsatisfied([Requirement(need)], pins(REQUIREMENTS_TEXT))) == complaints


def test_everything_that_a_project_states_is_a_need() -> None:
    stated = declared(
        """
        [build-system]
        requires = ["hatchling"]
        [project]
        dependencies = ["grpcio"]
        [project.optional-dependencies]
        more = ["apprise"]
        [dependency-groups]
        dev = ["ruff", {include-group = "other"}]
        """
    )
    assert sorted(need.name for need in stated) == ["apprise", "grpcio", "hatchling", "ruff"]


def test_a_closure_holds_what_is_declared_and_nothing_else() -> None:
    def member(name: str, *needs: str) -> Package:
        return Package(name, Path(name), tuple(Requirement(need) for need in needs))

    among = {
        package.name: package
        for package in (member("a", "b", "grpcio"), member("b", "c"), member("c", "b"), member("d"))
    }
    assert sorted(package.name for package in closure("a", among)) == ["a", "b", "c"]


def test_modules_of_a_wheel_leave_out_what_alembic_runs_by_path() -> None:
    names = ["p/__init__.py", "p/store.py", "p/migrations/env.py", "p/py.typed", "x/v1/y_pb2.py"]
    assert modules(names) == ["p", "p.store", "x.v1.y_pb2"]


def test_every_package_is_named_where_packages_are_listed() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    folders = {str(package.folder.relative_to(ROOT)) for package in packages().values()}
    assert {f"{folder}/src" for folder in folders} <= set(tool["mypy"]["mypy_path"])
    names = {name.replace("-", "_") for name in packages()} - {"placet_protos"}
    linter = tool["importlinter"]
    assert names == set(linter["root_packages"])
    (acyclic,) = (contract for contract in linter["contracts"] if contract["type"] == "acyclic_siblings")
    assert names == set(acyclic["ancestors"])


def test_the_committed_pins_carry_hashes_and_no_addresses() -> None:
    text = REQUIREMENTS.read_text()
    assert "://" not in text
    assert " @ " not in text
    assert len(re.findall(r"^\w.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins(text))
