"""The mail sink, talked to over SMTP."""

import asyncio
import mailbox
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from placet_devstack.mail_sink import MAX_MAIL_BYTES, MailSink, read_mails
from placet_devstack.probes import port_open
from placet_testing.conditions import until


def mail(subject: str = "Decision needed: Grüße", text: str = "first\n.second\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "placet@example.com"
    message["To"] = "alice@example.com"
    message["Subject"] = subject
    message["Message-ID"] = "<one@example.com>"
    message.set_content(text)
    return message


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    server = await MailSink(tmp_path / "mails").serve(0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


async def send(port: int, message: EmailMessage) -> None:
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port, start_tls=False)


@pytest.mark.integration
async def test_a_mail_is_read_back_as_it_was_sent(port: int, tmp_path: Path) -> None:
    await send(port, mail())
    [stored] = read_mails(tmp_path / "mails")
    assert stored.sender == "placet@example.com"
    assert stored.recipients == ("alice@example.com",)
    assert stored.subject == "Decision needed: Grüße"
    assert stored.message_id == "<one@example.com>"
    assert stored.text == "first\n.second\n"


@pytest.mark.integration
async def test_mails_are_listed_newest_last(port: int, tmp_path: Path) -> None:
    for number in range(12):
        await send(port, mail(str(number)))
    assert [stored.subject for stored in read_mails(tmp_path / "mails")] == [
        str(number) for number in range(12)
    ]


@pytest.mark.integration
async def test_only_the_owner_can_read_mails(port: int, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "mails").stat().st_mode) == 0o700


@pytest.mark.integration
async def test_a_mail_cannot_claim_another_envelope(port: int, tmp_path: Path) -> None:
    message = mail()
    message["Delivered-To"] = "bob@example.com"
    await send(port, message)
    assert read_mails(tmp_path / "mails")[0].recipients == ("alice@example.com",)


@pytest.mark.integration
async def test_a_mail_that_is_too_big_is_refused(port: int, tmp_path: Path) -> None:
    with pytest.raises(aiosmtplib.SMTPResponseException):
        await send(port, mail(text="x" * 70 + "\n" + ("x" * 70 + "\n") * (MAX_MAIL_BYTES // 71)))
    assert read_mails(tmp_path / "mails") == []


@pytest.mark.integration
async def test_a_full_disk_is_told_as_passing(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(box: mailbox.Maildir, content: bytes) -> str:
        (tmp_path / "mails" / "tmp" / "unfinished").write_bytes(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mailbox.Maildir, "add", no_space)
    with pytest.raises(aiosmtplib.SMTPResponseException) as caught:
        await send(port, mail())
    assert caught.value.code == 451
    assert read_mails(tmp_path / "mails") == []
    assert list((tmp_path / "mails" / "tmp").iterdir()) == []


def test_the_oldest_mails_make_room(tmp_path: Path) -> None:
    sink = MailSink(tmp_path / "mails", capacity=3)
    for number in range(5):
        sink.add("placet@example.com", ["alice@example.com"], f"Subject: {number}\r\n\r\n".encode())
    assert [stored.subject for stored in read_mails(tmp_path / "mails")] == ["2", "3", "4"]


def test_what_a_crash_left_unfinished_is_no_mail(tmp_path: Path) -> None:
    sink = MailSink(tmp_path / "mails")
    sink.add("placet@example.com", ["alice@example.com"], b"Subject: whole\r\n\r\n")
    (tmp_path / "mails" / "tmp" / "1.M2P3Q4.host").write_bytes(b"Subject: ha")
    assert [stored.subject for stored in read_mails(tmp_path / "mails")] == ["whole"]


def test_no_folder_is_no_mails(tmp_path: Path) -> None:
    assert read_mails(tmp_path / "missing") == []


@pytest.mark.integration
async def test_the_process_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "placet_devstack.mail_sink", "--port", str(port), "--directory", str(mails)),
        stderr=asyncio.subprocess.PIPE,
    )
    await until(port_open("127.0.0.1", port), "the mail sink listens")
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    await client.connect()
    await client.send_message(mail())
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    client.close()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    [stored] = read_mails(mails)
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
