"""The name of this program in commands that a user can paste."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path

from placet_cli.home import typed

NAME = "placet"


def pasted(command: str) -> str:
    """A command that can be pasted: with the path of this program, unless `placet` on the PATH is it."""
    name, gap, rest = command.partition(" ")
    return f"{_program()}{gap}{rest}" if name == NAME else command


@cache
def _program() -> str:
    own = Path(sys.executable).parent / NAME
    found = shutil.which(NAME)
    if not own.exists() or (found is not None and Path(found).samefile(own)):
        return NAME
    return typed(own)
