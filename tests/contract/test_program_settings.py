"""Every program tells a wrong setting by its variable, in plain words, and ends with a status of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

import variables
from placet_rpc.program import REFUSED
from placet_rpc.settings import describe_error

PROGRAMS = sorted(variables.processes().items())
# Beginnings of what pydantic says to programmers.
FOREIGN = ("Input should", "Value error", "pydantic", "validation error", "unable to")


def wrong_values(settings: type[BaseSettings], field: str) -> list[str]:
    """Values that a setting cannot have; none where any text will do."""
    found = settings.model_fields[field]
    kinds = {found.annotation, *get_args(found.annotation)}
    if any(get_origin(kind) is Literal for kind in kinds):
        return ["nonsense"]
    if bool in kinds:
        return ["perhaps"]
    if kinds & {int, float}:
        return ["5x", "-1e9", "1e99", "nan"] if float in kinds else ["5x", "1.5", "-1000000000", "9" * 5000]
    return []


def faults() -> list[tuple[type[BaseSettings], str, str]]:
    """All settings of all programs with each wrong value."""
    classes = {each for _, module in PROGRAMS for each in variables.settings_of(module)}
    return [
        (each, field, value)
        for each in sorted(classes, key=lambda one: (one.__module__, one.__name__))
        for field in each.model_fields
        for value in wrong_values(each, field)
    ]


def test_no_setting_is_explained_in_a_librarys_words(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without one of its two settings the witness checks no other.
    monkeypatch.setenv("PLACET_WITNESS_TRUST_ON_FIRST_USE", "true")
    tried = 0
    for settings, field, value in faults():
        variable = variables.names_of(settings, field)[0]
        with monkeypatch.context() as environment:
            environment.setenv(variable, value)
            try:
                settings()
            except ValidationError as error:
                told = [one for one in describe_error(error, [settings]).split("; ") if variable in one]
                assert told, (variable, value)
                assert not any(word in " ".join(told) for word in FOREIGN), told
                tried += 1
    assert tried > 50


@pytest.mark.integration
@pytest.mark.parametrize(("name", "module"), PROGRAMS)
def test_a_program_with_a_wrong_setting_says_which_and_refuses(
    name: str, module: str, tmp_path: Path
) -> None:
    settings, field = next(
        (each, field)
        for each in variables.settings_of(module)
        for field in each.model_fields
        if "5x" in wrong_values(each, field)
    )
    variable = variables.names_of(settings, field)[0]
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PLACET_")}
    finished = subprocess.run(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env=outside | {variable: "5x"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == REFUSED, finished.stderr
    said = finished.stdout + finished.stderr
    assert f"{variable}: '5x' is not a" in said
    assert not any(word in said for word in (*FOREIGN, "Traceback"))
