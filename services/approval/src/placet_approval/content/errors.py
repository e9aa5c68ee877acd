"""The one refusal of reading a content."""

from __future__ import annotations


class Unreadable(ValueError):
    """The content is not what its media type says, or more than can be read; the message says how."""
