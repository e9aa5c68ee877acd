"""Step "process": text is read where it came in; a PDF in a process of its own, which is killed when it takes
too long."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass

from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import Extracted, described, extract
from placet_approval.content.pdf_process import REFUSED

_LOG = logging.getLogger("placet.approval.extracting")


@dataclass(frozen=True)
class Limits:
    """What reading one PDF may take."""

    cpu_seconds: int = 10
    # More than the processor's time: another process may have the processor.
    seconds: float = 20
    # Of address space, of which Python and its libraries take a tenth.
    mebibytes: int = 512


class Extractor:
    """Reads contents."""

    def __init__(self, limits: Limits = Limits(), at_once: int = 2) -> None:
        """`at_once`: how many PDFs are read at the same time. Each takes a core; the others wait."""
        self._limits = limits
        self._turns = asyncio.Semaphore(at_once)

    async def extracted(self, body: bytes, media_type: str) -> Extracted:
        """The text of a content, and what the log says about it. Raises Unreadable."""
        if media_type != "application/pdf":
            return extract(body, media_type)
        async with self._turns:
            return described(await self._text_of_pdf(body), media_type)

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
                said, complaint = await process.communicate(body)
        except TimeoutError as error:
            raise _too_long() from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _answer(process.returncode, said.decode(), complaint.decode(errors="replace"))


def _answer(status: int | None, said: str, complaint: str) -> str:
    if status == 0:
        return said
    if status == REFUSED:
        raise Unreadable(said)
    if status is not None and status < 0:
        # By a signal: the kernel's, when the processor's time was used up.
        raise _too_long()
    _LOG.error("a PDF's process ended with status %s: %s", status, complaint)
    raise RuntimeError("a PDF's process failed, which no PDF may bring about")


def _too_long() -> Unreadable:
    return Unreadable("takes too long to read; send its text instead")
