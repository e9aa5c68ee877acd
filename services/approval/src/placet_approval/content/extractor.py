"""Step "process": extracts text in this process, and a PDF's text in a subprocess with limits."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass

from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import Extracted, extract, with_features
from placet_approval.content.pdf_process import REFUSED

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits of the subprocess that reads one PDF."""

    cpu_seconds: int = 10
    # Wall-clock limit: longer than the CPU limit, because the CPU is shared.
    seconds: float = 20
    # Address space; Python and its libraries take a tenth.
    mebibytes: int = 512


class Extractor:
    """Extracts the text of contents."""

    def __init__(self, limits: Limits = Limits(), concurrency: int = 2) -> None:
        """`concurrency`: the number of PDFs read at the same time, each on a core; others wait."""
        self._limits = limits
        self._slots = asyncio.Semaphore(concurrency)

    async def extract(self, body: bytes, media_type: str) -> Extracted:
        """The text of a content, and its `processed` event. Raises Unreadable."""
        if media_type != "application/pdf":
            return extract(body, media_type)
        async with self._slots:
            return with_features(await self._text_of_pdf(body), media_type)

    async def _text_of_pdf(self, body: bytes) -> str:
        limits = (str(self._limits.cpu_seconds), str(self._limits.mebibytes))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-m", "placet_approval.content.pdf_process", *limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(self._limits.seconds):
                output, errors = await process.communicate(body)
        except TimeoutError as error:
            raise _too_long() from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _answer(process.returncode, output.decode(), errors.decode(errors="replace"))


def _answer(status: int | None, output: str, errors: str) -> str:
    if status == 0:
        return output
    if status == REFUSED:
        raise Unreadable(output)
    if status is not None and status < 0:
        # Killed by the kernel when its CPU time was used up.
        raise _too_long()
    _LOG.error("a PDF's process ended with status %s: %s", status, errors)
    raise RuntimeError("the process that reads a PDF failed")


def _too_long() -> Unreadable:
    return Unreadable("takes too long to read; send its text instead")
