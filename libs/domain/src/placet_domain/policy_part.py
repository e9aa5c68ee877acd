"""Base of the parts of a policy, and the durations in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from placet_domain.durations import format_duration, parse_duration

Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]


class PolicyPart(BaseModel):
    """Closed: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
