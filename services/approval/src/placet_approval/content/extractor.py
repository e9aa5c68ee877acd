"""Step "process": extracts text in this process; PDF and Markdown are parsed in a subprocess with limits."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import dataclass

from placet_approval.content.content_process import REFUSED
from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import Extracted, extract, with_features
from placet_approval.content.gaps import Gap

_LOG = logging.getLogger(__name__)

# A Markdown text with none of these shows all that it says when it is rendered.
TRIGGERS = ("![", "<", "]:")


@dataclass(frozen=True)
class Limits:
    """Limits of the subprocess that reads one content."""

    cpu_seconds: int = 10
    # Wall-clock limit: longer than the CPU limit, because the CPU is shared.
    seconds: float = 20
    # Address space; Python and its libraries take a tenth.
    mebibytes: int = 512


class Extractor:
    """Extracts the text of contents."""

    def __init__(self, limits: Limits = Limits(), concurrency: int = 2) -> None:
        """`concurrency`: the number of subprocesses at the same time, each on a core; other contents wait."""
        self._limits = limits
        self._slots = asyncio.Semaphore(concurrency)

    async def extract(self, body: bytes, media_type: str) -> Extracted:
        """The text of a content, and its `processed` event. Raises Unreadable."""
        if media_type == "application/pdf":
            text, gaps = await self._read(body, media_type)
            return with_features(text or "", media_type, gaps)
        extracted = extract(body, media_type)
        if media_type != "text/markdown" or not any(one in extracted.text for one in TRIGGERS):
            return extracted
        _, gaps = await self._read(body, media_type)
        return with_features(extracted.text, media_type, gaps)

    async def _read(self, body: bytes, media_type: str) -> tuple[str | None, list[Gap]]:
        async with self._slots:
            return await self._in_subprocess(body, media_type)

    async def _in_subprocess(self, body: bytes, media_type: str) -> tuple[str | None, list[Gap]]:
        limits = (str(self._limits.cpu_seconds), str(self._limits.mebibytes))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-m", "placet_approval.content.content_process", media_type, *limits),
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


def _answer(status: int | None, output: str, errors: str) -> tuple[str | None, list[Gap]]:
    if status == 0:
        text, gaps = json.loads(output)
        return text, [(kind, count, page) for kind, count, page in gaps]
    if status == REFUSED:
        raise Unreadable(output)
    if status is not None and status < 0:
        # Killed by the kernel when its CPU time was used up.
        raise _too_long()
    _LOG.error("the process that reads a content ended with status %s: %s", status, errors)
    raise RuntimeError("the process that reads a content failed")


def _too_long() -> Unreadable:
    return Unreadable("takes too long to read; send its text instead")
