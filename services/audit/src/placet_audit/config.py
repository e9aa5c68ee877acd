"""AuditService's settings, each with its default and its environment variable."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from placet_audit.log_keys import LogKeys, NoLogKey
from placet_proof import NotProven, VerifierKey, attestation_keys
from placet_rpc.files import read_private
from placet_rpc.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read once, at start. A variable is `PLACET_AUDIT_` and the field's name, unless the field says so."""

    model_config = SettingsConfigDict(env_prefix="PLACET_AUDIT_", frozen=True, populate_by_name=True)

    listen: str = "127.0.0.1:7401"

    database_url: str = "sqlite:///.placet/audit.db"
    """The database of the log: `sqlite:///path` or `postgresql://…`."""

    origin: str = Field(default="localhost/placet", pattern=r"^[^\s+/]+(/[^\s+/]+)*$")
    """Name of the logs in checkpoints, globally unique, like a URL without its scheme;
    each tenant's is added. It must never change: another origin is another log."""

    log_key: SecretStr = SecretStr("")
    """The keys that checkpoints are signed with: PEM, the newest first. In a file it is better kept."""

    log_key_file: Path = Path(".placet/keys/log.pem")
    """The file with these keys, mode 0600, unless the variable holds them. Read at start."""

    attestation_keys_file: Path = Field(
        default=Path(".placet/keys/attestation.vkey"), validation_alias="PLACET_ATTESTATION_KEYS_FILE"
    )
    """The public keys of people's commands: a verifier key on each line, with ` until TIME` if it has ended.
    Read at start."""

    queue_limit: int = Field(default=2000, ge=1)
    """Appends that may wait; one more is answered RESOURCE_EXHAUSTED."""

    batch_limit: int = Field(default=200, ge=1)
    """Appends in one transaction, at most."""

    tail_bytes: int = Field(default=8 << 20, ge=1 << 16)
    """Bytes of newest entries kept in memory for each tailed tenant."""

    tail_poll: float = Field(default=0.25, gt=0)
    """Seconds between polls for the entries of other replicas."""

    sign_of_life: float = Field(default=5, gt=0)
    """Seconds between empty messages of a silent tail, which say that it is current."""

    refusals_per_minute: int = Field(default=600, ge=0)
    """Refused calls that are recorded in the log per tenant; more are only logged."""

    retention_days: int = Field(default=184, ge=0, le=36_500)
    """Days after closing during which a request is erased only if the call sets before_retention. Nothing is
    erased automatically."""

    def retention(self) -> timedelta:
        """The time after closing during which a request must be kept."""
        return timedelta(days=self.retention_days)

    def log_keys(self) -> LogKeys:
        """The keys. Raises OSError, and ValueError for keys that are none, are not there, or that others may
        read; it says where they were looked for."""
        given = self.log_key.get_secret_value()
        try:
            keys = LogKeys.read(given or read_private(self.log_key_file).decode(), self.origin)
        except FileNotFoundError as error:
            raise ValueError(_no_file(self.log_key_file)) from error
        except NoLogKey as error:
            where = "PLACET_AUDIT_LOG_KEY" if given else str(self.log_key_file)
            raise ValueError(f"{where}: {error}") from error
        return replace(keys, attesting=self._attestation_keys())

    def _attestation_keys(self) -> tuple[VerifierKey, ...]:
        try:
            return attestation_keys(self.attestation_keys_file.read_text().splitlines())
        except NotProven as error:
            raise ValueError(f"{self.attestation_keys_file}: {error}") from error
        except FileNotFoundError as error:
            raise ValueError(
                f"there are no keys of attestations, and without them no person's command is logged: "
                f"{self.attestation_keys_file} does not exist. It holds ApprovalService's public key, and "
                "those that it had before. PLACET_ATTESTATION_KEYS_FILE names another file"
            ) from error


def _no_file(path: Path) -> str:
    return (
        f"there is no key to sign the log with: {path} does not exist. Put it back if there is a log that "
        f"it signed; for a new log: umask 077; openssl genpkey -algorithm ed25519 -out "
        f"{shlex.quote(str(path))}. PLACET_AUDIT_LOG_KEY_FILE names another file"
    )
