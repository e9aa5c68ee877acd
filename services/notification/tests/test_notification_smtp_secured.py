"""Mails with TLS and a password, and the settings for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from placet_notification.channels import ChannelUnavailable
from placet_notification.config import Settings
from placet_notification.domain import Content, Notification
from placet_notification.smtp import EmailChannel, MailServer, Security

pytestmark = pytest.mark.integration

# The mail server of conftest, which tests cannot import by name.
PostOffice = Any


async def content() -> Content:
    """The content to decide on."""
    return Content(text="text", requester="ci@example.com", extracted=False, unread=())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
async def secured(
    post_office: PostOffice, certificate: tuple[Path, Path]
) -> AsyncIterator[Callable[[Security], "asyncio.Future[int]"]]:
    """Starts a mail server with TLS or STARTTLS that asks for a password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    servers = []

    def knows(server: SMTP, session: object, envelope: object, mechanism: str, login: object) -> AuthResult:
        right = isinstance(login, LoginPassword) and login == LoginPassword(b"placet", b"secret")
        return AuthResult(success=right, handled=False)

    async def start(security: Security) -> int:
        starttls = security is Security.STARTTLS
        server = await asyncio.get_running_loop().create_server(
            lambda: post_office.protocol(
                tls_context=context if starttls else None,
                require_starttls=starttls,
                auth_required=True,
                auth_require_tls=starttls,
                authenticator=knows,
            ),
            "localhost",
            0,
            ssl=None if starttls else context,
        )
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield lambda security: asyncio.ensure_future(start(security))
    for server in servers:
        server.close()


def login(port: int, security: Security, ca: Path | None, password: str = "secret") -> EmailChannel:
    server = MailServer("localhost", port, security, ca_file=ca, username="placet", password=password)
    return EmailChannel(server, sender="placet@example.com")


Secured = Callable[[Security], "asyncio.Future[int]"]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")  # TLS is below it
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_mails_go_encrypted_and_with_a_password(
    post_office: PostOffice,
    secured: Secured,
    certificate: tuple[Path, Path],
    asked: Notification,
    security: Security,
) -> None:
    channel = login(await secured(security), security, certificate[0])
    await channel.deliver("default", asked, content, within=10)
    await channel.close()
    assert len(post_office.mails) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_a_wrong_password_is_ours_to_mend(
    secured: Secured, certificate: tuple[Path, Path], asked: Notification
) -> None:
    channel = login(await secured(Security.TLS), Security.TLS, certificate[0], password="wrong")
    with pytest.raises(ChannelUnavailable, match="535") as caught:
        await channel.deliver("default", asked, content, within=10)
    assert "wrong" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(
    post_office: PostOffice, secured: Secured, asked: Notification, security: Security
) -> None:
    channel = login(await secured(security), security, None)
    with pytest.raises(ChannelUnavailable):
        await channel.deliver("default", asked, content, within=10)
    assert post_office.mails == []


async def test_starttls_is_not_given_up_when_the_server_does_not_offer_it(
    post_office: PostOffice, asked: Notification
) -> None:
    server = MailServer("127.0.0.1", post_office.port, Security.STARTTLS)
    with pytest.raises(ChannelUnavailable, match="STARTTLS"):
        await EmailChannel(server, sender="placet@example.com").deliver("default", asked, content, within=10)
    assert post_office.mails == []


@pytest.mark.parametrize(
    "variables",
    [
        {"MAIL_FROM": "Placet"},
        {"SMTP_USERNAME": "placet"},
        {"SMTP_USERNAME": "placet", "SMTP_PASSWORD_FILE": "/password"},
        {"SMTP_SECURITY": "maybe"},
    ],
)
def test_settings_that_do_not_fit_are_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"PLACET_NOTIFICATION_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("PLACET_NOTIFICATION_SMTP_USERNAME", "placet")
    monkeypatch.setenv("PLACET_NOTIFICATION_SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("PLACET_NOTIFICATION_SMTP_SECURITY", "tls")
    settings = Settings()
    assert settings.mail_server().password == "secret"
    assert "secret" not in repr(settings) + repr(settings.mail_server())
