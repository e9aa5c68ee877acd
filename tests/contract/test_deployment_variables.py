"""docs/operations.md names every environment variable, with what the code says of it."""

from __future__ import annotations

import re

import pytest

import variables
from deployment import ROOT

NAME = re.compile(r"\b(?:PLACET|OPENAI)_[A-Z0-9_]*[A-Z0-9]\b")
# Told by the product's own tests to a process that they kill; nothing that anybody sets.
OF_TESTS = {"PLACET_FAILPOINTS"}


def test_the_table_of_variables_is_what_the_programs_declare() -> None:
    page = variables.PAGE.read_text()
    assert page == variables.renewed(page), "run: .venv/bin/python deploy/variables.py"


def test_every_variable_that_the_code_names_is_in_the_table() -> None:
    known = {each.name for each in variables.everything()} | OF_TESTS
    sources = [path for top in ("libs", "services", "workers") for path in ROOT.glob(f"{top}/*/src/**/*.py")]
    named = {name for path in sources for name in NAME.findall(path.read_text())}
    assert named - known == set()


def test_what_the_sdk_reads_is_told_as_its() -> None:
    sources = (ROOT / "libs" / "client" / "src").glob("**/*.py")
    named = {name for path in sources for name in NAME.findall(path.read_text())}
    assert named <= {each.name for each in variables.everything() if "SDK" in each.process}
    assert "PLACET_TOKEN_FILE" in named


def test_a_default_is_one() -> None:
    assert "Undefined" not in variables.table()


@pytest.mark.parametrize("each", variables.everything(), ids=lambda each: f"{each.process}-{each.name}")
def test_every_variable_is_explained(each: variables.Variable) -> None:
    assert each.meaning.endswith(".")
    assert len(each.meaning) > 10


def test_one_variable_means_one_thing() -> None:
    page = variables.table()
    names = re.findall(r"^\| `([A-Z_0-9]+)`", page, flags=re.MULTILINE)
    assert len(names) == len(set(names))


def test_every_path_that_the_page_names_exists() -> None:
    page = variables.PAGE.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page)
    assert [link for link in links if not (variables.PAGE.parent / link).exists()] == []
    scripts = set(re.findall(r"`?(deploy/[\w.-]+)`?", page)) | {"docker-compose.yml"}
    assert [script for script in scripts if not (ROOT / script).exists()] == []
