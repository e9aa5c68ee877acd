"""The e-mail channel against real SMTP servers, good and bad ones."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
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

from placet_notification.channels import ChannelUnavailable, RecipientRefused
from placet_notification.config import Settings
from placet_notification.connections import MailServer, Security
from placet_notification.domain import Content, Notification, Payload
from placet_notification.smtp import EmailChannel

# The mail server of conftest, which tests cannot import by name.
PostOffice = Any
CONTENT = Content(text=".\n.hidden\n", requester="ci@example.com", extracted=False)


@pytest.fixture
def asked(make_payload: Callable[..., Payload]) -> Notification:
    return Notification(id="one", cursor=1, create_time=datetime.now(UTC), payload=make_payload())


@pytest.fixture
async def channel(post_office: PostOffice) -> AsyncIterator[EmailChannel]:
    channel = to(post_office.port)
    yield channel
    await channel.close()


def to(port: int, connections: int = 4) -> EmailChannel:
    server = MailServer(host="127.0.0.1", port=port)
    return EmailChannel(server, sender="placet@example.com", connections=connections)


async def test_a_mail_arrives_as_it_was_written(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, CONTENT, within=10)
    assert post_office.envelopes == [("placet@example.com", ("alice@example.com",))]
    assert post_office.mails[0]["Message-ID"] == "<one@example.com>"
    assert "> .\n> .hidden\n" in post_office.mails[0].get_content().replace("\r\n", "\n")


async def test_connections_are_used_again(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    for _ in range(5):
        await channel.deliver("default", asked, CONTENT, within=10)
    assert (len(post_office.mails), post_office.connections) == (5, 1)


async def test_connections_are_bounded(post_office: PostOffice, asked: Notification) -> None:
    channel = to(post_office.port, connections=2)
    tenants = ("default", "other")
    await asyncio.gather(*(channel.deliver(tenants[n % 2], asked, CONTENT, within=10) for n in range(20)))
    await channel.close()
    assert (len(post_office.mails), post_office.connections) == (20, 2)


async def test_a_connection_that_nobody_uses_is_closed(post_office: PostOffice, asked: Notification) -> None:
    server = MailServer(host="127.0.0.1", port=post_office.port)
    channel = EmailChannel(server, sender="placet@example.com", idle_seconds=0.05)
    await channel.deliver("default", asked, CONTENT, within=10)
    async with asyncio.timeout(10):
        await post_office.left.wait()
    await channel.deliver("default", asked, CONTENT, within=10)
    await channel.close()
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_a_connection_that_the_server_ends_with_a_word_is_replaced(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, CONTENT, within=10)
    post_office.last_words = "421 4.4.2 idle for too long"
    await channel.deliver("default", asked, CONTENT, within=10)
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_a_recipient_whose_mails_stall_does_not_keep_the_others_out(
    post_office: PostOffice, asked: Notification, make_payload: Callable[..., Payload]
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never if "alice" in server.envelope.rcpt_tos[0] else None
    channel = to(post_office.port, connections=4)
    stalled = [asyncio.create_task(channel.deliver("default", asked, CONTENT, within=60)) for _ in range(20)]
    bob = replace(asked, payload=make_payload(recipient="bob@example.com"))
    await asyncio.gather(*(channel.deliver("default", bob, CONTENT, within=10) for _ in range(20)))
    assert not any(task.done() for task in stalled)
    for task in stalled:
        task.cancel()
    await asyncio.gather(*stalled, return_exceptions=True)
    never.cancel()


async def test_a_tenant_whose_mails_stall_does_not_keep_the_others_out(
    post_office: PostOffice, asked: Notification, make_payload: Callable[..., Payload]
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never if "bob" not in server.envelope.rcpt_tos[0] else None
    channel = to(post_office.port, connections=2)
    stalled = [
        asyncio.create_task(
            channel.deliver(
                "default",
                replace(asked, payload=make_payload(recipient=f"{n}@example.com")),
                CONTENT,
                within=2,
            )
        )
        for n in range(20)
    ]
    bob = replace(asked, payload=make_payload(recipient="bob@example.com"))
    # Its turn is the first that comes free.
    await channel.deliver("other", bob, CONTENT, within=60)
    assert sum(task.done() for task in stalled) <= 2
    await asyncio.gather(*stalled, return_exceptions=True)
    never.cancel()


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, CONTENT, within=10)
    post_office.hang_up()
    await channel.deliver("default", asked, CONTENT, within=10)
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_a_refusal_leaves_the_connection_usable(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    post_office.rcpt_answer = "550 no"
    with pytest.raises(RecipientRefused):
        await channel.deliver("default", asked, CONTENT, within=10)
    post_office.rcpt_answer = "250 OK"
    await channel.deliver("default", asked, CONTENT, within=10)
    assert (len(post_office.mails), post_office.connections) == (1, 1)


async def test_a_server_that_hangs_up_before_it_answers_is_unavailable(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    def drop(server: SMTP) -> None:
        assert server.transport is not None
        server.transport.abort()  # type: ignore[attr-defined] # a socket's transport

    post_office.before_answer = drop
    with pytest.raises(ChannelUnavailable):
        await channel.deliver("default", asked, CONTENT, within=10)
    # It had taken the mail: the next attempt sends it again, with the same Message-ID.
    post_office.before_answer = lambda server: None
    await channel.deliver("default", asked, CONTENT, within=10)
    assert [mail["Message-ID"] for mail in post_office.mails] == ["<one@example.com>"] * 2


async def test_a_slow_server_takes_no_longer_than_allowed(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never
    with pytest.raises(ChannelUnavailable, match=r"did not answer within 0\.2 s"):
        await channel.deliver("default", asked, CONTENT, within=0.2)
    never.cancel()
    # The conversation that was broken off is not used again.
    post_office.before_answer = lambda server: None
    await channel.deliver("default", asked, CONTENT, within=10)
    assert post_office.connections == 2


async def test_a_slow_server_does_not_let_others_wait_beyond_their_time(
    post_office: PostOffice, asked: Notification
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never
    channel = to(post_office.port, connections=1)
    results = await asyncio.gather(
        *(channel.deliver("default", asked, CONTENT, within=0.2) for _ in range(3)), return_exceptions=True
    )
    never.cancel()
    assert all(isinstance(result, ChannelUnavailable) for result in results)


async def test_nobody_listening_is_unavailable(unused_tcp_port: int, asked: Notification) -> None:
    with pytest.raises(ChannelUnavailable):
        await to(unused_tcp_port).deliver("default", asked, CONTENT, within=10)


async def test_a_server_that_greets_with_a_refusal_is_unavailable(asked: Notification) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no service here\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        with pytest.raises(ChannelUnavailable, match="554 no service here"):
            await to(server.sockets[0].getsockname()[1]).deliver("default", asked, CONTENT, within=10)


async def test_a_server_that_talks_nonsense_is_unavailable(asked: Notification) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff what?\r\n" * 3)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        with pytest.raises(ChannelUnavailable):
            await to(server.sockets[0].getsockname()[1]).deliver("default", asked, CONTENT, within=10)


@pytest.mark.parametrize(("code", "verdict"), [(550, RecipientRefused), (451, ChannelUnavailable)])
async def test_an_answer_in_another_encoding_can_be_stored_and_told(
    asked: Notification, code: int, verdict: type[Exception]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while command := await reader.readline():
            refused = command.startswith(b"RCPT")
            said = f"{code} Empfänger unbekannt" if refused else "250 ok"
            writer.write(said.encode("latin-1") + b"\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        channel = to(server.sockets[0].getsockname()[1])
        with pytest.raises(verdict) as caught:
            await channel.deliver("default", asked, CONTENT, within=10)
        await channel.close()
    # With its causes, for spans and logs show those, too.
    told = "".join(traceback.format_exception(caught.value))
    assert f"{code} Empf\ufffdnger unbekannt" in told
    assert told.encode()


# With TLS and a password.


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
    await channel.deliver("default", asked, CONTENT, within=10)
    await channel.close()
    assert len(post_office.mails) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_a_wrong_password_is_ours_to_mend(
    secured: Secured, certificate: tuple[Path, Path], asked: Notification
) -> None:
    channel = login(await secured(Security.TLS), Security.TLS, certificate[0], password="wrong")
    with pytest.raises(ChannelUnavailable, match="535") as caught:
        await channel.deliver("default", asked, CONTENT, within=10)
    assert "wrong" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(
    post_office: PostOffice, secured: Secured, asked: Notification, security: Security
) -> None:
    channel = login(await secured(security), security, None)
    with pytest.raises(ChannelUnavailable):
        await channel.deliver("default", asked, CONTENT, within=10)
    assert post_office.mails == []


async def test_starttls_is_not_given_up_when_the_server_does_not_offer_it(
    post_office: PostOffice, asked: Notification
) -> None:
    server = MailServer("127.0.0.1", post_office.port, Security.STARTTLS)
    with pytest.raises(ChannelUnavailable, match="STARTTLS"):
        await EmailChannel(server, sender="placet@example.com").deliver("default", asked, CONTENT, within=10)
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
