"""Base of the DTOs, and the types of their fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict

Hex: TypeAlias = Annotated[str, "hex"]
ErasableText: TypeAlias = Annotated[str, "erasable"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Dto(BaseModel):
    """Immutable; unknown fields are ignored, so that a newer writer does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")
