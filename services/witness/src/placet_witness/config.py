"""The witness's settings, each with its default and its environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from placet_rpc.settings import CallerSettings
from placet_witness.domain import Trust
from placet_witness.keys import log_keys


class Settings(CallerSettings):
    """Read once, at start. A variable is `PLACET_WITNESS_` and the field's name, or the field says."""

    model_config = SettingsConfigDict(env_prefix="PLACET_WITNESS_", frozen=True, validate_by_name=True)

    audit_address: str = Field(default="127.0.0.1:7401", validation_alias="PLACET_AUDIT_ADDRESS")
    """host:port of AuditService, whose log is watched."""

    token_file: Path = Field(default=Path(".placet/tokens/witness"), validation_alias="PLACET_TOKEN_FILE")
    """The witness's own token, of program `witness` and for the tenant whose log is watched."""

    tenant: str = "default"
    """The tenant whose log is watched: one a witness."""

    folder: Path = Path(".placet/witness")
    """The witness's data, which no one else may write: out of reach of anyone who could change the log."""

    key_file: Path = Path(".placet/keys/witness.pem")
    """The witness's private key, mode 0600: Ed25519 in PEM (PKCS #8)."""

    name: str = "placet-witness"
    """The name of its key in signatures: no spaces, no plus."""

    log_keys_file: Path | None = None
    """The log's keys: a verifier key on each line. These are believed, and no other."""

    trust_on_first_use: bool = False
    """Without a file of keys: whether those are believed that signed the first checkpoint, and later ones
    once a checkpoint is signed with a known key and the new one. Where there is a file, it counts alone."""

    interval: float = Field(default=10, gt=0)
    """Seconds within which an alarm comes. The log is asked three times in them."""

    ready_file: Path | None = Field(default=None, validation_alias="PLACET_READY_FILE")
    """A file that is written once a worker polls, or the witness has looked. Default: none."""

    @model_validator(mode="after")
    def _somebody_is_believed(self) -> Self:
        if self.log_keys_file is None and not self.trust_on_first_use:
            raise ValueError(
                "the witness must know the log's keys: name them with PLACET_WITNESS_LOG_KEYS_FILE, "
                "or set PLACET_WITNESS_TRUST_ON_FIRST_USE=true"
            )
        return self

    def trust(self) -> Trust:
        """Trusted keys of the log. Raises OSError or ValueError if the keys cannot be read."""
        if self.log_keys_file is None:
            return Trust((), learns=True)
        return Trust(log_keys(self.log_keys_file))
