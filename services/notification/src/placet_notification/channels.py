"""What a channel promises, and the one that needs no address: the log."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from placet_notification.domain import Content, Notification
from placet_telemetry import log
from placet_text import one_line

_LOG = log(__name__)


FetchContent: TypeAlias = Callable[[], Awaitable[Content | None]]


class ChannelUnavailable(Exception):
    """The channel did not take it, or did not say so: the same attempt may succeed later."""


class RecipientRefused(Exception):
    """The channel refuses this recipient for good; `code` is its own (SMTP: 5yz)."""

    def __init__(self, code: int, answer: str) -> None:
        super().__init__(f"{code} {answer}")
        self.code = code


class DeliveryChannel(Protocol):
    """A way to tell somebody something."""

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """One attempt of at most `within` seconds; returns when the channel has taken it.

        `content` fetches what is to be decided, if the notification asks for a decision. A channel that shows
        it calls this when it can hand it on at once, for it may be large. Raises ChannelUnavailable,
        RecipientRefused, and what `content` raises.
        """


class LogChannel:
    """A line in the service's log, of which nothing can be erased: it says to whom, not what. Programs follow
    the stream; the line is for whoever looks for it."""

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """Writes the line; cannot fail."""
        payload = notification.payload
        _LOG.info(
            "notification",
            tenant=tenant,
            notification_id=notification.id,
            kind=payload.kind.value,
            recipient=one_line(payload.recipient),
            approval_id=payload.approval_id,
            state=payload.state,
        )
