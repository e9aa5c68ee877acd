"""Where Temporal is, and the key under which it keeps what we give it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TemporalSettings(BaseSettings):
    """Read once, from the environment: PLACET_TEMPORAL_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="PLACET_", frozen=True, extra="ignore")

    # Host and port of Temporal's frontend.
    temporal_address: str = "127.0.0.1:7410"
    # The namespace, which must exist.
    temporal_namespace: str = "default"
    # A file with 32 random bytes, mode 0600: the AES-256 key of all payloads.
    payload_key_file: Path = Path(".placet/keys/payload.key")
    # How long `connect` waits for the frontend, in seconds.
    temporal_connect_timeout: float = Field(default=30, gt=0)
