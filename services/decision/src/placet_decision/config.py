"""DecisionService's settings, each with its default and its environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from placet_rpc.settings import CallerSettings, ServiceSettings


class Settings(ServiceSettings, CallerSettings):
    """Read once, at start. Unless a field says otherwise, its variable is `PLACET_DECISION_` and its name."""

    model_config = SettingsConfigDict(env_prefix="PLACET_DECISION_", frozen=True, env_ignore_empty=True)

    listen: str = "127.0.0.1:7402"

    token_file: Path = Field(default=Path(".placet/tokens/decision"), validation_alias="PLACET_TOKEN_FILE")
    """This service's own token, for ApprovalService and AuditService."""

    database_url: str = "sqlite:///.placet/decision.db"
    """The database of answers: `sqlite:///path` or `postgresql://…`."""

    approval_address: str = Field(default="127.0.0.1:7400", validation_alias="PLACET_APPROVAL_ADDRESS")
    """Host and port of ApprovalService, which has the content."""

    audit_address: str = Field(default="127.0.0.1:7401", validation_alias="PLACET_AUDIT_ADDRESS")
    """Host and port of AuditService, which records refusals of authority."""

    refusals_per_minute: int = Field(default=600, ge=0)
    """Refused calls that are recorded in the audit log per tenant; more are only logged."""

    keep_days: int = Field(default=184, ge=1)
    """Days after which an answer and its reasoning are deleted. Until then the same call gets the same
    answer; workflows repeat a call for hours, until its result is in the log."""

    provider: Literal["embedded", "openai"] | None = None
    """The provider. Default: `openai` if a key, its file or a base URL is set, else `embedded`."""

    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("PLACET_OPENAI_API_KEY", "OPENAI_API_KEY")
    )
    """The API key. Self-hosted servers usually need none. Prefer the file."""

    openai_api_key_file: Path | None = Field(default=None, validation_alias="PLACET_OPENAI_API_KEY_FILE")
    """A file with the API key, mode 0600. It overrides the variable; a new key in it is used at once."""

    openai_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("PLACET_OPENAI_BASE_URL", "OPENAI_BASE_URL")
    )
    """Any OpenAI-compatible address, e.g. `http://127.0.0.1:8080/v1`. Default: OpenAI's own."""

    openai_model: str = Field(default="gpt-5.4-mini", min_length=1, validation_alias="PLACET_OPENAI_MODEL")
    """Name of the model."""

    openai_timeout: float = Field(default=60, gt=0, validation_alias="PLACET_OPENAI_TIMEOUT")
    """Seconds for one call of the model, at most; the RPC's deadline may leave less."""

    openai_max_input_characters: int = Field(
        default=200_000, ge=1, validation_alias="PLACET_OPENAI_MAX_INPUT_CHARACTERS"
    )
    """Longest text that the model gets; a longer one is an abstention, because part of it would go unread."""

    openai_max_output_tokens: int = Field(
        default=4096, ge=64, validation_alias="PLACET_OPENAI_MAX_OUTPUT_TOKENS"
    )
    """Tokens of one answer, reasoning included; an answer that is cut off is an abstention."""

    openai_calls_per_minute: int = Field(
        default=6000, ge=1, validation_alias="PLACET_OPENAI_CALLS_PER_MINUTE"
    )
    """Calls of the model by this process, at most; more are unavailable and tried again. Set it to what the
    model's provider allows."""

    openai_daily_tokens: int | None = Field(default=None, ge=1, validation_alias="PLACET_OPENAI_DAILY_TOKENS")
    """Tokens for each tenant and day (UTC); beyond them the model is unavailable to that tenant. Default: no
    limit."""

    @model_validator(mode="after")
    def _openai_is_reachable(self) -> Self:
        if self.provider == "openai" and not self._names_a_model:
            raise ValueError(
                "provider openai needs PLACET_OPENAI_API_KEY_FILE, PLACET_OPENAI_API_KEY or "
                "PLACET_OPENAI_BASE_URL"
            )
        return self

    @property
    def chosen_provider(self) -> Literal["embedded", "openai"]:
        """The provider, after defaults."""
        if self.provider:
            return self.provider
        return "openai" if self._names_a_model else "embedded"

    @property
    def _names_a_model(self) -> bool:
        return bool(self.openai_api_key or self.openai_api_key_file or self.openai_base_url)
