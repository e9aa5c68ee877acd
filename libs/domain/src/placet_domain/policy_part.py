"""Base of the parts of a policy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PolicyPart(BaseModel):
    """Closed: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
