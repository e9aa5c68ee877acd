"""This worker's settings, read once from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from placet_rpc.settings import CallerSettings


class Settings(CallerSettings):
    """Each field with its default; its variable is PLACET_ and the field's name."""

    model_config = SettingsConfigDict(env_prefix="PLACET_", frozen=True, extra="ignore")

    audit_address: str = "127.0.0.1:7401"
    """Host and port of AuditService."""

    decision_address: str = "127.0.0.1:7402"
    """Host and port of DecisionService."""

    notification_address: str = "127.0.0.1:7403"
    """Host and port of NotificationService."""

    token_file: Path = Path(".placet/tokens/worker-default")
    """The worker's own token, mode 0600; its issuer renews it."""
