"""Settings of the connection to Temporal."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TemporalSettings(BaseSettings):
    """Settings of every program that connects to Temporal; the prefix of each variable is `PLACET_`."""

    model_config = SettingsConfigDict(
        env_prefix="PLACET_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    temporal_address: str = "127.0.0.1:7410"
    """Host and port of Temporal's frontend."""

    temporal_namespace: str = "default"
    """The namespace, which must exist."""

    payload_key_file: Path = Path(".placet/keys/payload.key")
    """A file with 32 random bytes, mode 0600: the AES-256 key of all payloads."""

    temporal_connect_timeout: float = Field(default=30, gt=0)
    """Seconds that `connect` waits for the frontend."""
