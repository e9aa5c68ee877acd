"""docs/operations.md names every environment variable, with what the code says of it."""

from __future__ import annotations

import re

import variables
from deployment import ROOT

NAME = re.compile(r"\b(?:PLACET|OPENAI)_[A-Z0-9_]*[A-Z0-9]\b")
# Of the tests alone: places where a process is killed, and the length of a property test.
OF_TESTS = {"PLACET_FAILPOINTS", "PLACET_THOROUGH"}


def test_the_table_of_variables_is_what_the_programs_declare() -> None:
    page = variables.PAGE.read_text()
    assert page == variables.renewed(page), "run: .venv/bin/python deploy/variables.py"


def test_every_variable_that_the_code_names_is_in_the_table() -> None:
    known = {each.name for each in variables.everything()} | OF_TESTS
    sources = [path for top in ("libs", "services", "workers") for path in ROOT.glob(f"{top}/*/src/**/*.py")]
    named = {name for path in sources for name in NAME.findall(path.read_text())}
    assert named - known == set()
