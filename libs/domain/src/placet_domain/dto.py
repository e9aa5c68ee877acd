"""Base of the domain's messages, and the marks of their fields."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict

Hex: TypeAlias = Annotated[str, "hex"]
ErasableText: TypeAlias = Annotated[str, "erasable"]


class Dto(BaseModel):
    """Immutable; unknown fields are ignored, so that a newer writer does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")
