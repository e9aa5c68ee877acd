"""Builds the stubs before hatch packs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling leaves its config type open
    """Calls `generate.py`, which stands beside this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root)))
        try:
            import generate
        finally:
            sys.path.pop(0)
        generate.generate()
