"""ApprovalService's settings, each with its default and its environment variable."""

from __future__ import annotations

import os
import shlex
import socket
from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from placet_approval.attester import Attester
from placet_approval.fallback_monitor import AlarmSettings
from placet_proof import NotProven, VerifierKey, attestation_keys
from placet_proof.signer import read_key
from placet_rpc.files import read_private
from placet_rpc.settings import CallerSettings, ServiceSettings


class Settings(ServiceSettings, CallerSettings):
    """Settings, read once at start; the prefix of each variable is `PLACET_APPROVAL_`."""

    model_config = SettingsConfigDict(env_prefix="PLACET_APPROVAL_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:7400"

    token_file: Path = Field(default=Path(".placet/tokens/approval"), validation_alias="PLACET_TOKEN_FILE")
    """This service's own token, mode 0600; renewed by whoever issued it."""

    database_url: str = "sqlite:///.placet/approval.db"
    """Database of requests, contents and the view: `sqlite:///path` or `postgresql://…`."""

    replica: str = Field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}", min_length=1)
    """This process's name, unique among the processes that share the database. Default: host name and process
    id."""

    audit_address: str = Field(default="127.0.0.1:7401", validation_alias="PLACET_AUDIT_ADDRESS")
    """Host and port of AuditService."""

    notification_address: str = Field(
        default="127.0.0.1:7403", validation_alias="PLACET_NOTIFICATION_ADDRESS"
    )
    """Host and port of NotificationService, which notifies operators of alarms."""

    alarm_recipients: str = ""
    """E-mail addresses, separated by commas, of the operators who are notified when people do not respond."""

    fallback_alarm_threshold: float = Field(default=0.3, gt=0, lt=1)
    """Share of fallbacks, in the decisions for which a person was asked, above which an alarm begins."""

    fallback_alarm_decisions: int = Field(default=10, ge=1)
    """Smallest number of such decisions for an alarm to begin."""

    fallback_alarm_hours: float = Field(default=24, gt=0, le=8784)
    """Length of the alarm's window, in hours by the policies' clocks (see clock_scale)."""

    attestation_key_file: Path = Path(".placet/keys/attestation.pem")
    """The private key that signs people's commands, mode 0600: Ed25519 in PEM (PKCS #8). Read at start."""

    attestation_keys_file: Path = Field(
        default=Path(".placet/keys/attestation.vkey"), validation_alias="PLACET_ATTESTATION_KEYS_FILE"
    )
    """The public keys of people's commands: a verifier key on each line, with ` until TIME` if it has ended.
    Read at start."""

    policy_folder: Path | None = None
    """A folder with the operator's own policies (`*.toml`), and the JSON Schemas of their own kinds of action
    (`kinds/*.json`). Default: the built-in ones alone."""

    clock_scale: float = Field(default=1, ge=1, le=100_000)
    """Factor by which the policies' clocks run faster than written. More than 1 is for demonstrations."""

    command_budget: float = Field(default=1.2, gt=0)
    """Seconds that a command waits for its result before it is answered ACCEPTED."""

    await_limit: float = Field(default=60, gt=0)
    """Seconds that AwaitOutcome waits at most, also when the caller would wait longer."""

    sign_of_life: float = Field(default=5, gt=0)
    """Seconds without events after which a watch sends a sign of life."""

    intake_recovery_interval: float = Field(default=5, gt=0)
    """Seconds between searches for requests whose intake was interrupted."""

    recovery_age: float = Field(default=10, gt=0)
    """Age in seconds from which recovery considers a request; younger ones are left to their callers."""

    workflow_recovery_interval: float = Field(default=15, gt=0)
    """Seconds between searches for open requests without a running workflow, 100 requests each; and for
    overdue commands."""

    refusals_per_minute: int = Field(default=600, ge=0)
    """Access refusals recorded per tenant and minute; more are only counted."""

    def attestation_keys(self) -> tuple[VerifierKey, ...]:
        """The public keys of attestations. Raises OSError, and ValueError for a file that holds none."""
        try:
            return attestation_keys(self.attestation_keys_file.read_text().splitlines())
        except NotProven as error:
            raise ValueError(f"{self.attestation_keys_file}: {error}") from error

    def attester(self) -> Attester:
        """The signer of commands. Raises OSError, and ValueError for a key that is none, that others may
        read, or whose attestations AuditService would refuse."""
        try:
            attester = Attester(read_key(read_private(self.attestation_key_file)))
        except FileNotFoundError as error:
            raise ValueError(_no_key(self.attestation_key_file)) from error
        except ValueError as error:
            raise ValueError(f"{self.attestation_key_file}: {error}") from error
        if attester.public not in self.attestation_keys():
            raise ValueError(
                f"{self.attestation_keys_file} must hold the public half of {self.attestation_key_file}, "
                f"without an end, before anything is signed with it: {attester.public}"
            )
        return attester

    def alarm(self) -> AlarmSettings:
        """The alarm's threshold, window and recipients."""
        return AlarmSettings(
            threshold=self.fallback_alarm_threshold,
            min_decisions=self.fallback_alarm_decisions,
            window=timedelta(hours=self.fallback_alarm_hours) / self.clock_scale,
            recipients=tuple(part.strip() for part in self.alarm_recipients.split(",") if part.strip()),
        )


def _no_key(path: Path) -> str:
    return (
        f"there is no key to sign commands with: {path} does not exist. For a new one: umask 077; "
        f"openssl genpkey -algorithm ed25519 -out {shlex.quote(str(path))}. "
        "PLACET_APPROVAL_ATTESTATION_KEY_FILE names another file"
    )
