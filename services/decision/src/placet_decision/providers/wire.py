"""The HTTP client under the openai SDK: trace context out, and no answer larger than one can be."""

from collections.abc import AsyncIterator

import httpx2
from openai import OpenAIError
from opentelemetry import propagate

# A verdict with its reasoning is a few kilobytes. Whoever sends more has something else in mind.
MAX_ANSWER_BYTES = 1 << 20
_CONNECT_SECONDS = 5.0


class OversizedAnswer(OpenAIError):
    """The answer is larger than any sound one. The SDK passes its own errors through unchanged."""


def http_client() -> httpx2.AsyncClient:
    """A client that carries the trace on, bounds answers, and takes content nowhere else by a redirect."""
    return httpx2.AsyncClient(
        # No overall limit here: each call brings its own.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        # A small compressed answer can be a huge one.
        headers={"accept-encoding": "identity"},
        follow_redirects=False,
        event_hooks={"request": [_carry_trace], "response": [_bound]},
    )


async def _carry_trace(request: httpx2.Request) -> None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    request.headers.update(carrier)


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise OversizedAnswer("the answer is compressed, which was not asked for")
    stream = response.stream
    if isinstance(stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise OversizedAnswer(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
