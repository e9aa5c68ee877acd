"""The HTTP client under the openai SDK: propagates the trace, bounds bodies; no cookies, no redirects."""

from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from openai import OpenAIError
from opentelemetry import propagate

# A verdict with its reasoning is a few kilobytes.
MAX_ANSWER_BYTES = 1 << 20
_CONNECT_SECONDS = 5.0


class UnreadableBody(OpenAIError):
    """The body is larger than any sound one, or compressed. The SDK raises its own errors unchanged."""


def http_client() -> httpx2.AsyncClient:
    """A client for one provider; each call brings its own overall timeout."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        # A small compressed answer can be a huge one.
        headers={"accept-encoding": "identity"},
        # A cookie would link the requests of all tenants.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        # Content goes to no other address than the configured one.
        follow_redirects=False,
        event_hooks={"request": [_propagate_trace], "response": [_bound]},
    )


async def _propagate_trace(request: httpx2.Request) -> None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    request.headers.update(carrier)


async def _bound(response: httpx2.Response) -> None:
    compressed = response.headers.get("content-encoding", "identity").lower() != "identity"
    if compressed and response.is_success:
        raise UnreadableBody("the body is compressed, which was not requested")
    stream = response.stream
    if isinstance(stream, httpx2.AsyncByteStream):
        # The body of an error is cut instead: its status says enough.
        limit = 0 if compressed else MAX_ANSWER_BYTES
        response.stream = _Bounded(stream, limit, cut=not response.is_success)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, *, cut: bool) -> None:
        """`limit` in bytes; beyond it the stream ends if `cut`, else raises UnreadableBody."""
        self._stream = stream
        self._limit = limit
        self._cut = cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > self._limit:
                if self._cut:
                    return
                raise UnreadableBody(f"the body is larger than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
