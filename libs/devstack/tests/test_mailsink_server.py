"""The mail sink, talked to over SMTP."""

import asyncio
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from placet_devstack.mailsink import MailBox, MailSink, listen_address, read_mails, server
from placet_devstack.mailsink.server import MAX_MAIL_BYTES


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
    sink = MailSink(MailBox(tmp_path))
    yield await sink.start("127.0.0.1", 0)
    await sink.stop()


async def send(port: int, message: EmailMessage) -> None:
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port, start_tls=False)


@pytest.mark.integration
async def test_a_mail_is_read_back_as_it_was_sent(port: int, tmp_path: Path) -> None:
    await send(port, mail())
    [stored] = read_mails(tmp_path)
    assert stored.sender == "placet@example.com"
    assert stored.recipients == ("alice@example.com",)
    assert stored.subject == "Decision needed: Grüße"
    assert stored.message_id == "<one@example.com>"
    assert stored.text == "first\n.second\n"


@pytest.mark.integration
async def test_mails_are_listed_newest_last(port: int, tmp_path: Path) -> None:
    for number in range(12):
        await send(port, mail(str(number)))
    assert [stored.subject for stored in read_mails(tmp_path)] == [str(number) for number in range(12)]


@pytest.mark.integration
async def test_only_the_owner_can_read_mails(port: int, tmp_path: Path) -> None:
    await send(port, mail())
    [stored] = read_mails(tmp_path)
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(stored.path.parent.stat().st_mode) == 0o700


@pytest.mark.integration
async def test_a_mail_cannot_claim_another_envelope(port: int, tmp_path: Path) -> None:
    message = mail()
    message["Delivered-To"] = "bob@example.com"
    await send(port, message)
    assert read_mails(tmp_path)[0].recipients == ("alice@example.com",)


@pytest.mark.integration
async def test_a_mail_that_is_too_big_is_refused(port: int, tmp_path: Path) -> None:
    with pytest.raises(aiosmtplib.SMTPResponseException):
        await send(port, mail(text="x" * 70 + "\n" + ("x" * 70 + "\n") * (MAX_MAIL_BYTES // 71)))
    assert read_mails(tmp_path) == []


@pytest.mark.integration
async def test_a_full_disk_is_told_as_passing(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(aiosmtplib.SMTPResponseException) as caught:
        await send(port, mail())
    assert caught.value.code == 451
    monkeypatch.undo()
    assert read_mails(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.integration
async def test_too_many_recipients_are_refused_for_now(port: int) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        await client.mail("placet@example.com")
        for number in range(100):
            await client.rcpt(f"p{number}@example.com")
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as caught:
            await client.rcpt("late@example.com")
    assert caught.value.code == 452


@pytest.mark.integration
async def test_connections_beyond_the_bound_are_told_to_come_again(port: int) -> None:
    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) for _ in range(51)]
    for client in clients[:50]:
        await client.connect()
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as caught:
        await clients[50].connect()
    assert caught.value.code == 421
    for client in clients[:50]:
        await client.quit()


def test_the_oldest_mails_make_room(tmp_path: Path) -> None:
    box = MailBox(tmp_path, capacity=3)
    for number in range(5):
        box.add("placet@example.com", ["alice@example.com"], f"Subject: {number}\r\n\r\n".encode())
    assert [stored.subject for stored in read_mails(tmp_path)] == ["2", "3", "4"]


def test_what_a_crash_left_unfinished_is_no_mail(tmp_path: Path) -> None:
    box = MailBox(tmp_path)
    box.add("placet@example.com", ["alice@example.com"], b"Subject: whole\r\n\r\n")
    (tmp_path / "tmp" / "1.eml").write_bytes(b"Subject: ha")
    assert [stored.subject for stored in read_mails(tmp_path)] == ["whole"]
    MailBox(tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_no_folder_is_no_mails(tmp_path: Path) -> None:
    assert read_mails(tmp_path / "missing") == []


@pytest.mark.parametrize(
    "text", ["0.0.0.0:25", "192.0.2.1:25", "example.com:25", "127.0.0.1", "127.0.0.1:x", ":25"]
)
def test_only_a_loopback_address_is_listened_on(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1|host:port"):
        listen_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7413", ("127.0.0.1", 7413)),
        ("localhost:7413", ("127.0.0.1", 7413)),
        ("[::1]:7413", ("::1", 7413)),
    ],
)
def test_loopback_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


async def started(directory: Path) -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_devstack.mailsink",
        "--listen", "127.0.0.1:0", "--directory", str(directory),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
    found = re.search(r":(\d+)$", line.strip())
    assert found, line
    return process, int(found[1])


@pytest.mark.integration
async def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    process, port = await started(tmp_path)
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    await client.connect()
    await client.send_message(mail())
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    client.close()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    assert len(read_mails(tmp_path)) == 1


@pytest.mark.integration
async def test_a_mail_that_is_being_stored_survives_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = MailBox(tmp_path)
    add: Callable[..., Path] = box.add
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def slow(*arguments: object) -> Path:
        loop.call_soon_threadsafe(begun.set)
        return add(*arguments)

    monkeypatch.setattr(box, "add", slow)
    sink = MailSink(box)
    sending = asyncio.create_task(send(await sink.start("127.0.0.1", 0), mail()))
    await asyncio.wait_for(begun.wait(), 10)
    await sink.stop()
    await asyncio.wait_for(sending, 10)
    assert len(read_mails(tmp_path)) == 1


@pytest.mark.integration
async def test_a_client_that_stalls_does_not_hold_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_STOP_SECONDS", 0.05)
    sink = MailSink(MailBox(tmp_path))
    reader, writer = await asyncio.open_connection("127.0.0.1", await sink.start("127.0.0.1", 0))
    writer.write(b"HELO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: half")
    while not (await asyncio.wait_for(reader.readline(), 10)).startswith(b"354"):
        pass
    await asyncio.wait_for(sink.stop(), 10)
    writer.close()
    assert read_mails(tmp_path) == []
