"""The error of reading a content."""

from __future__ import annotations


class Unreadable(ValueError):
    """The content does not match its media type or exceeds a limit. The message continues "content.body"."""
