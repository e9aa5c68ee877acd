"""Files for verification elsewhere, written completely or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from placet.audit.v1 import audit_service_pb2
from placet_cli.event_rows import entries
from placet_cli.problems import Problem
from placet_proof import Note, NotProven
from placet_rpc import files


async def write_export(
    messages: AsyncIterable[audit_service_pb2.ExportEventsResponse],
    path: Path,
    progress: Callable[[int], None],
) -> int:
    """Writes an export as lines of JSON: its header, then each entry. Answers how many entries there are.

    `progress` is called with how many are written so far. Unless all of it arrived, what was at `path`
    before is still there. Raises Problem.
    """
    with replacing(path) as file:
        size, written = -1, 0
        async for message in messages:
            if message.HasField("header"):
                size = _size(message.header.checkpoint)
                _line(file, MessageToDict(message.header))
            for entry in message.entries:
                if entry.index != written:
                    raise Problem(
                        "the export has a gap", f"entry {entry.index:,} came where {written:,} follows"
                    )
                _line(file, entry_json(entry))
                written += 1
            progress(written)
        if written != size:
            raise Problem("the export ended early", f"after {written:,} of {entries(max(size, 0))}")
    return written


def _size(checkpoint: str) -> int:
    try:
        return Note.parse(checkpoint).checkpoint.size
    except NotProven as error:
        raise Problem("what the service sent is not an export", str(error)) from error


def _line(file: TextIO, written: Mapping[str, object]) -> None:
    file.write(json.dumps(written) + "\n")


def entry_json(entry: Message) -> dict[str, object]:
    """An entry in proto3 JSON, with its index though that is 0, which proto3 leaves out."""
    return {"index": "0", **MessageToDict(entry)}


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file for its owner alone that takes the place of `path` once it is complete and on the disk.

    Unless the block ends well, what was there before is still there. Raises Problem.
    """
    try:
        with files.replacing(path) as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
            yield file
            file.flush()
            file.detach()
    except OSError as error:
        raise Problem(f"cannot write {path}", error.strerror or str(error)) from error
