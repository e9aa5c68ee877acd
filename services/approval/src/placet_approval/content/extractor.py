"""Step "process": extracts short text in this process; all that may take long in a child with limits."""

from __future__ import annotations

from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import MARKUP, Extracted, extract, extract_any
from placet_jobs import DEFAULT_LIMITS, SLOTS, JobRunner, Limits, OutOfMemory, OutOfTime

_PARSERS = [f"placet_approval.content.{name}" for name in ("extraction", "markdown", "pdf")]
# Reading text takes a second a mebibyte at worst, so this takes some milliseconds.
INLINE_BYTES = 1 << 14


class Extractor:
    """Extracts the text of contents."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, slots: int = SLOTS) -> None:
        """`slots`: the number of children at the same time; other contents wait, in turns per tenant."""
        self._jobs = JobRunner(_PARSERS, limits, slots)

    async def extract(self, tenant: str, body: bytes, media_type: str) -> Extracted:
        """The text of a content, and its `processed` event.

        Raises Unreadable, and ResourceExhausted (TENANT_BUSY) while too many contents of the tenant wait.
        """
        if len(body) <= INLINE_BYTES and not _needs_parser(body, media_type):
            return extract(body, media_type)
        try:
            return await self._jobs.run(tenant, extract_any, body, media_type)
        except OutOfTime as error:
            raise Unreadable("takes too long to read; send its text instead") from error
        except OutOfMemory as error:
            raise Unreadable("takes too much memory to read; send its text instead") from error


def _needs_parser(body: bytes, media_type: str) -> bool:
    if media_type == "text/markdown":
        return any(sign in body for sign in MARKUP)
    return media_type == "application/pdf"
