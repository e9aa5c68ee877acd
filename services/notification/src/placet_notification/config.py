"""NotificationService's settings, each with its default and its environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from placet_notification.domain import is_address
from placet_notification.smtp import MailServer, Security
from placet_rpc.settings import CallerSettings, ServiceSettings


class Settings(ServiceSettings, CallerSettings):
    """Read once, at start. A variable is `PLACET_NOTIFICATION_` and the field's name, or the field says."""

    model_config = SettingsConfigDict(env_prefix="PLACET_NOTIFICATION_", frozen=True, validate_by_name=True)

    listen: str = "127.0.0.1:7403"

    token_file: Path = Field(
        default=Path(".placet/tokens/notification"), validation_alias="PLACET_TOKEN_FILE"
    )
    """This service's own token."""

    approval_address: str = Field(default="127.0.0.1:7400", validation_alias="PLACET_APPROVAL_ADDRESS")
    """host:port of ApprovalService, the source of content."""

    audit_address: str = Field(default="127.0.0.1:7401", validation_alias="PLACET_AUDIT_ADDRESS")
    """host:port of AuditService, which records refused calls."""

    database_url: str = "sqlite:///.placet/notification.db"
    """The database of deliveries: `sqlite:///path` or `postgresql://…`."""

    attempt_seconds: float = Field(default=10, gt=0)
    """Seconds for one attempt, however long its caller waits; a stop waits for it. After a crash during one,
    the same notification is tried again when these and 3 more seconds have passed."""

    attempts: int = Field(default=1000, ge=1)
    """Attempts at once, at most; most of them wait for the mail server. One more is RESOURCE_EXHAUSTED."""

    smtp_host: str = "127.0.0.1"
    """The mail server. Default: the embedded stack's mail sink."""

    smtp_port: int = Field(default=7413, ge=1, le=65535)
    """Its port; usually 25 or 587, with security `tls` 465."""

    smtp_security: Security = Security.NONE
    """none, starttls (then required, never optional) or tls."""

    smtp_ca_file: Path | None = None
    """PEM file of the certificate authority of the mail server. Unset: the system's authorities."""

    smtp_username: str | None = None
    """User name at the mail server. Unset: no login."""

    smtp_password_file: Path | None = None
    """File with the password, so that it is not in the environment."""

    smtp_connections: int = Field(default=4, ge=1, le=100)
    """Conversations with the mail server at once; one tenant gets half of them at most, one recipient one."""

    mail_from: str = "placet@localhost"
    """Sender of the mails. Its domain is also that of their Message-IDs."""

    keep_days: int = Field(default=184, ge=1)
    """Days after which recipient, title, reason, approver and the mail server's replies are erased. The
    delivery itself stays, so that nobody is notified twice."""

    sign_of_life: float = Field(default=5, gt=0)
    """Seconds between empty messages to a subscriber."""

    stream_poll: float = Field(default=1, gt=0)
    """Seconds between polls for the additions of other replicas."""

    refusals_per_minute: int = Field(default=600, ge=0)
    """Refused calls that are recorded in the audit log per tenant; more are only logged."""

    @model_validator(mode="after")
    def _mail_settings_fit(self) -> Self:
        if not is_address(self.mail_from):
            raise ValueError("PLACET_NOTIFICATION_MAIL_FROM must be an e-mail address")
        if (self.smtp_username is None) != (self.smtp_password_file is None):
            raise ValueError(
                "PLACET_NOTIFICATION_SMTP_USERNAME and PLACET_NOTIFICATION_SMTP_PASSWORD_FILE go together: "
                "set both or neither"
            )
        if self.smtp_username is not None and self.smtp_security is Security.NONE:
            raise ValueError("a password is only sent with PLACET_NOTIFICATION_SMTP_SECURITY=starttls or tls")
        return self

    def mail_server(self) -> MailServer:
        """The mail server with its password. Raises OSError if the password file cannot be read."""
        password = None if self.smtp_password_file is None else self.smtp_password_file.read_text().strip()
        return MailServer(
            host=self.smtp_host,
            port=self.smtp_port,
            security=self.smtp_security,
            ca_file=self.smtp_ca_file,
            username=self.smtp_username,
            password=password,
        )
