"""The HTTP client under the openai SDK, and what may come back over it: bounded, and read by its form.

Neither is left to the SDK, which trusts whoever answers: it builds objects from whatever JSON it gets.
"""

from collections.abc import AsyncIterator

import httpx2
from openai import OpenAIError
from opentelemetry import propagate
from pydantic import BaseModel, ValidationError

# A verdict with its reasoning is a few kilobytes. Whoever sends more has something else in mind.
MAX_ANSWER_BYTES = 1 << 20
_CONNECT_SECONDS = 5.0


class OversizedAnswer(OpenAIError):
    """The answer is larger than any sound one. The SDK passes its own errors through unchanged."""


class Refused(OpenAIError):
    """An HTTP status other than success; `code` is the provider's own word for why, if it gave one."""

    def __init__(self, status: int, code: str) -> None:
        # Nothing else of the body: it may quote the key and the content.
        super().__init__(f"HTTP {status}")
        self.status = status
        self.code = code


class Message(BaseModel):
    """What the model said, or that it would not."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One answer, and why it ended."""

    message: Message
    finish_reason: str | None = None


class Completion(BaseModel):
    """As much of a chat completion as is used. `model` is what the server calls itself."""

    choices: list[Choice]
    model: str | None = None


class _Error(BaseModel):
    code: str | None = None


class _ErrorBody(_Error):
    error: _Error | None = None


def http_client() -> httpx2.AsyncClient:
    """A client that carries the trace on, bounds answers, and takes content nowhere else by a redirect."""
    return httpx2.AsyncClient(
        # No overall limit here: each call brings its own.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        # A small compressed answer can be a huge one.
        headers={"accept-encoding": "identity"},
        follow_redirects=False,
        event_hooks={"request": [_carry_trace], "response": [_bound, _refuse]},
    )


async def _carry_trace(request: httpx2.Request) -> None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    request.headers.update(carrier)


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # Its status is all that can be known of it.
        raise (
            OversizedAnswer("the answer is compressed, which was not asked for")
            if response.is_success
            else Refused(response.status_code, "")
        )
    stream = response.stream
    if isinstance(stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(stream)


async def _refuse(response: httpx2.Response) -> None:
    if not response.is_success:
        raise Refused(response.status_code, await _code(response))


async def _code(response: httpx2.Response) -> str:
    try:
        body = _ErrorBody.model_validate_json(await response.aread())
    except (OversizedAnswer, ValidationError):
        return ""
    return (body if body.error is None else body.error).code or ""


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
