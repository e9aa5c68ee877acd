"""A model behind a real wire that answers as a test tells it, in the forms that DecisionService asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeModel:
    """Speaks the chat completions protocol; keeps what it was asked."""

    port: int = 0
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    # Never set: the answer never comes.
    hold: asyncio.Event | None = None
    # Bytes a step, each followed by a pause: slower in all than any single read.
    drip: int = 0
    # Repeats the body until the client has enough; then `sent` counts its bytes.
    endless: bool = False
    sent: int = 0
    # Any: JSON.
    seen: list[dict[str, Any]] = field(default_factory=list)
    seen_headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """Answer to the client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def says(self, content: object, *, finish: str = "stop") -> None:
        """The next answers carry this text, or this value as JSON."""
        text = content if isinstance(content, str) else json.dumps(content)
        self.body = completion(text, finish=finish)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one request, and answers as it was set to."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.seen.append(json.loads(body))
        self.seen_headers.append(headers)
        try:
            await self._answer(writer)
        except ConnectionError:
            pass  # the client had enough
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.hold is not None:
            await self.hold.wait()
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        extra += "" if self.endless else f"content-length: {len(self.body)}\r\n"
        extra += "connection: close\r\n"
        head = f"HTTP/1.1 {self.status} X\r\n{extra}\r\n"
        writer.write(head.encode())
        step = self.drip or len(self.body) or 1
        for start in range(0, len(self.body), step):
            writer.write(self.body[start : start + step])
            await writer.drain()
            if self.drip:
                await asyncio.sleep(0.02)
        await writer.drain()
        while self.endless:
            writer.write(self.body)
            await writer.drain()
            self.sent += len(self.body)

    def system(self) -> str:
        """The instructions that came last."""
        return str(self.seen[-1]["messages"][0]["content"])

    def user(self) -> str:
        """The material that came last."""
        return str(self.seen[-1]["messages"][1]["content"])


def completion(
    text: str | None,
    *,
    finish: str | None = "stop",
    refusal: str | None = None,
    choices: int = 1,
    tool_calls: list[object] | None = None,
    **changes: object,
) -> bytes:
    """The envelope of an answer, with its choice `choices` times. `changes`: other fields, by name."""
    message: dict[str, object] = {"role": "assistant", "content": text, "refusal": refusal}
    if tool_calls is not None:
        message["tool_calls"] = tool_calls
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": None}
    envelope = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "model-1-2026",
        "choices": [choice] * choices,
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return json.dumps({**envelope, **changes}).encode()


def risk(
    value: float = 0.1, confidence: float = 0.8, result: str = "assessed", reasoning: str = "Harmless."
) -> dict[str, object]:
    """An answer to how risky it is."""
    return {"result": result, "risk": value, "confidence": confidence, "reasoning": reasoning}


def verdict(
    value: str = "approve", confidence: float = 0.8, reasoning: str = "In order."
) -> dict[str, object]:
    """An answer to what to decide."""
    return {"verdict": value, "confidence": confidence, "reasoning": reasoning}


@asynccontextmanager
async def serving_model(fake: FakeModel | None = None) -> AsyncIterator[FakeModel]:
    """A model on a free port of this machine, for as long as the context lasts: `fake`, or a plain one."""
    fake = fake or FakeModel()
    server = await asyncio.start_server(fake.handle, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    yield fake
    server.close()
    await server.wait_closed()
