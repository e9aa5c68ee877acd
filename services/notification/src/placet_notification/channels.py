"""Delivery channels: their contract, and the one that needs no address, the log."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from placet_notification.domain import Content, Notification
from placet_text import one_line

_LOG = logging.getLogger(__name__)


FetchContent: TypeAlias = Callable[[], Awaitable[Content | None]]


class ChannelUnavailable(Exception):
    """The channel did not take it, or did not confirm it: the same attempt may succeed later."""


class RecipientRefused(Exception):
    """The channel refuses this recipient for good; `code` is the channel's (SMTP: 5yz)."""

    def __init__(self, code: int, answer: str) -> None:
        super().__init__(f"{code} {answer}")
        self.code = code


class DeliveryChannel(Protocol):
    """A way to deliver notifications."""

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """One attempt of at most `within` seconds; returns when the channel has taken it.

        `content` fetches the content to decide on, if the notification asks for a decision. A channel that
        shows it calls this when it can hand it on at once, because it may be large. Raises
        ChannelUnavailable, RecipientRefused, and what `content` raises.
        """


class LogChannel:
    """A line in the service's log. Nothing in a log can be erased, so it names the recipient, not the title.

    Programs follow the stream; the line is for operators.
    """

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """Writes the line; never fails."""
        payload = notification.payload
        _LOG.info(
            "notification for %s",
            one_line(payload.recipient),
            extra={
                "tenant": tenant,
                "notification_id": notification.id,
                "kind": payload.kind.value,
                "approval_id": payload.approval_id,
                "state": payload.state,
            },
        )
