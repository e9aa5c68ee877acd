"""The e-mail channel against real SMTP servers, good and bad ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from placet_notification import smtp
from placet_notification.channels import ChannelUnavailable, RecipientRefused
from placet_notification.content import ContentUnavailable
from placet_notification.domain import Content, Notification, Payload
from placet_notification.smtp import EmailChannel, MailServer

pytestmark = pytest.mark.integration

# The mail server of conftest, which tests cannot import by name.
PostOffice = Any


async def content() -> Content:
    """The content to decide on."""
    return Content(text=".\n.hidden\n", requester="ci@example.com", extracted=False, unread=())


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
    await channel.deliver("default", asked, content, within=10)
    assert post_office.envelopes == [("placet@example.com", ("alice@example.com",))]
    assert post_office.mails[0]["Message-ID"] == "<one@example.com>"
    assert "> .\n> .hidden\n" in post_office.mails[0].get_content().replace("\r\n", "\n")


async def test_connections_are_used_again(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    for _ in range(5):
        await channel.deliver("default", asked, content, within=10)
    assert (len(post_office.mails), post_office.connections) == (5, 1)


async def test_connections_are_bounded(post_office: PostOffice, asked: Notification) -> None:
    channel = to(post_office.port, connections=2)
    tenants = ("default", "other")
    await asyncio.gather(*(channel.deliver(tenants[n % 2], asked, content, within=10) for n in range(20)))
    await channel.close()
    assert (len(post_office.mails), post_office.connections) == (20, 2)


async def test_a_connection_that_was_idle_for_long_is_replaced(
    post_office: PostOffice, channel: EmailChannel, asked: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    await channel.deliver("default", asked, content, within=10)
    monkeypatch.setattr(smtp, "_IDLE_SECONDS", 0.0)
    await channel.deliver("default", asked, content, within=10)
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_the_close_says_goodbye(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, content, within=10)
    await channel.close()
    async with asyncio.timeout(10):
        await post_office.left.wait()


async def test_a_connection_that_the_server_ends_with_a_word_is_replaced(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, content, within=10)
    post_office.last_words = "421 4.4.2 idle for too long"
    await channel.deliver("default", asked, content, within=10)
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_a_recipient_whose_mails_stall_does_not_keep_the_others_out(
    post_office: PostOffice, asked: Notification, make_payload: Callable[..., Payload]
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never if "alice" in server.envelope.rcpt_tos[0] else None
    channel = to(post_office.port, connections=4)
    stalled = [asyncio.create_task(channel.deliver("default", asked, content, within=60)) for _ in range(20)]
    bob = replace(asked, payload=make_payload(recipient="bob@example.com"))
    await asyncio.gather(*(channel.deliver("default", bob, content, within=10) for _ in range(20)))
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
                content,
                within=2,
            )
        )
        for n in range(20)
    ]
    bob = replace(asked, payload=make_payload(recipient="bob@example.com"))
    await channel.deliver("other", bob, content, within=60)
    assert sum(task.done() for task in stalled) <= 2
    await asyncio.gather(*stalled, return_exceptions=True)
    never.cancel()


async def test_limits_of_those_who_send_nothing_take_no_memory(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await asyncio.gather(*(channel.deliver(f"tenant-{n}", asked, content, within=10) for n in range(8)))
    assert not channel._by_tenant._semaphores
    assert not channel._by_recipient._semaphores


async def test_a_mail_that_waits_holds_no_content(post_office: PostOffice, asked: Notification) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    def wait(server: SMTP) -> asyncio.Future[None]:
        begun.set()
        return answer

    fetched = []

    async def fetch(number: int) -> Content:
        fetched.append(number)
        return await content()

    post_office.before_answer = wait
    channel = to(post_office.port, connections=1)
    sending = [
        asyncio.create_task(channel.deliver("default", asked, partial(fetch, number), within=60))
        for number in range(10)
    ]
    await asyncio.wait_for(begun.wait(), 10)
    assert fetched == [0]
    answer.set_result(None)
    await asyncio.gather(*sending)
    await channel.close()
    assert fetched == list(range(10))


async def test_content_that_cannot_be_had_begins_no_conversation_and_holds_up_no_mail(
    post_office: PostOffice, asked: Notification
) -> None:
    async def fetch() -> Content:
        raise ContentUnavailable("ApprovalService is away")

    channel = to(post_office.port, connections=1)
    with pytest.raises(ContentUnavailable):
        await channel.deliver("default", asked, fetch, within=10)
    assert post_office.connections == 0
    await channel.deliver("default", asked, content, within=10)
    await channel.close()


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    await channel.deliver("default", asked, content, within=10)
    post_office.hang_up()
    await channel.deliver("default", asked, content, within=10)
    assert (len(post_office.mails), post_office.connections) == (2, 2)


async def test_a_refusal_leaves_the_connection_usable(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    post_office.rcpt_answer = "550 no"
    with pytest.raises(RecipientRefused):
        await channel.deliver("default", asked, content, within=10)
    post_office.rcpt_answer = "250 OK"
    await channel.deliver("default", asked, content, within=10)
    assert (len(post_office.mails), post_office.connections) == (1, 1)


async def test_a_server_that_hangs_up_before_it_answers_is_unavailable(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    def drop(server: SMTP) -> None:
        assert server.transport is not None
        server.transport.abort()  # type: ignore[attr-defined] # a socket's transport

    post_office.before_answer = drop
    with pytest.raises(ChannelUnavailable):
        await channel.deliver("default", asked, content, within=10)
    # It had taken the mail: the next attempt sends it again, with the same Message-ID.
    post_office.before_answer = lambda server: None
    await channel.deliver("default", asked, content, within=10)
    assert [mail["Message-ID"] for mail in post_office.mails] == ["<one@example.com>"] * 2


async def test_a_slow_server_takes_no_longer_than_allowed(
    post_office: PostOffice, channel: EmailChannel, asked: Notification
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never
    with pytest.raises(ChannelUnavailable, match=r"did not answer within 0\.2 s"):
        await channel.deliver("default", asked, content, within=0.2)
    never.cancel()
    # The conversation that was broken off is not used again.
    post_office.before_answer = lambda server: None
    await channel.deliver("default", asked, content, within=10)
    assert post_office.connections == 2


async def test_a_slow_server_does_not_let_others_wait_beyond_their_time(
    post_office: PostOffice, asked: Notification
) -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    post_office.before_answer = lambda server: never
    channel = to(post_office.port, connections=1)
    results = await asyncio.gather(
        *(channel.deliver("default", asked, content, within=0.2) for _ in range(3)), return_exceptions=True
    )
    never.cancel()
    assert all(isinstance(result, ChannelUnavailable) for result in results)


async def test_nobody_listening_is_unavailable(unused_tcp_port: int, asked: Notification) -> None:
    with pytest.raises(ChannelUnavailable):
        await to(unused_tcp_port).deliver("default", asked, content, within=10)


async def test_a_server_that_greets_with_a_refusal_is_unavailable(asked: Notification) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no service here\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        with pytest.raises(ChannelUnavailable, match="554 no service here"):
            await to(server.sockets[0].getsockname()[1]).deliver("default", asked, content, within=10)


async def test_a_server_that_talks_nonsense_is_unavailable(asked: Notification) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff what?\r\n" * 3)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        with pytest.raises(ChannelUnavailable):
            await to(server.sockets[0].getsockname()[1]).deliver("default", asked, content, within=10)
