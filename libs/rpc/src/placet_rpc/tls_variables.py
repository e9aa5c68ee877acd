"""What settings that hold TLS files share, on both sides of a connection."""

from __future__ import annotations

import os
from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from placet_rpc.client import TLS_PREFIX


class TlsVariables(BaseSettings):
    """Settings that take an empty variable for an unset one, except where that would turn TLS off."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    # Any: what comes before validation.
    @model_validator(mode="before")
    @classmethod
    def _no_tls_file_is_empty(cls, values: Any) -> Any:
        """An empty one is what a template makes of a name that it does not know. Raises ValueError."""
        for field in cls.model_fields.values():
            name = str(field.validation_alias)
            if name.startswith(TLS_PREFIX) and os.environ.get(name) == "":
                raise ValueError(f"{name} is set but empty: name a PEM file, or unset it")
        return values
