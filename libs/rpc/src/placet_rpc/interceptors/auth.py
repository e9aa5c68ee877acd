"""Admission of calls: the server's bound, the caller's token, and whom the contract names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from placet_rpc import identity
from placet_rpc.access import Method
from placet_rpc.calls import Calls
from placet_rpc.errors import RPC_DOMAIN, PermissionDenied, Unauthenticated
from placet_rpc.identity import Principal
from placet_rpc.interceptors.base import Context, Guard, Metadata, Stream, closing, metadata_of
from placet_rpc.tokens.verify import Verifier

_LOG = logging.getLogger(__name__)


class Admission(Guard):
    """Refuses calls beyond the server's bound, and new streams while it stops."""

    name = "admission"

    def __init__(self, calls: Calls) -> None:
        """`calls` holds the bound."""
        self._calls = calls

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        self._calls.admit(streaming=method.streaming)


class Authentication(Guard):
    """Identifies the caller by the bearer token in the metadata, and the tenant of the call.

    A stream ends with Unauthenticated when its token stops being valid: TOKEN_EXPIRED, TOKEN_REVOKED, or
    TOKEN_INVALID after the key was withdrawn.
    """

    name = "authentication"

    def __init__(self, verifier: Verifier) -> None:
        """`verifier` verifies tokens."""
        self._verifier = verifier

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        metadata = metadata_of(context)
        token = _bearer_token(metadata)
        try:
            principal = self._verifier.verify(token)
        except Unauthenticated as error:
            # For the operator alone: an answer that named the cause would help a forger.
            _LOG.info("%s: token refused: %s", method.name, error.__cause__ or error)
            raise
        # Before the tenant is checked, so that a refusal is recorded with its caller, in their own tenant.
        identity.enter(principal, token)
        wanted = _single(metadata, identity.TENANT_METADATA)
        if principal.program:
            identity.enter(_in_tenant(principal, wanted), token)
        elif wanted is not None and wanted != principal.tenant:
            raise PermissionDenied(
                "the token is for another tenant", reason="OTHER_TENANT", domain=RPC_DOMAIN
            )

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> AsyncGenerator[Any, None]:
            self.check(method, request, context)
            validity = _TokenValidity(self._verifier, _bearer_token(metadata_of(context)))
            try:
                async with closing(inner(request, context)) as answers:
                    while True:
                        try:
                            answer = await validity.next(answers)
                        except StopAsyncIteration:
                            return
                        yield answer
            finally:
                validity.close()

        return call


class Authorization(Guard):
    """Admits the programs that the contract names for the method, and callers with one of the roles there."""

    name = "authorization"

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        caller = identity.current()
        if method.admits(caller):
            return
        if caller.program:
            raise PermissionDenied(
                f"{method.name} is not for program {caller.program}",
                reason="PROGRAM_REFUSED",
                metadata={"program": caller.program},
                domain=RPC_DOMAIN,
            )
        roles = ", ".join(sorted(method.roles))
        needs = f"needs one of the roles: {roles}" if roles else "is for programs of Placet alone"
        raise PermissionDenied(
            f"{method.name} {needs}", reason="ROLE_REQUIRED", metadata={"roles": roles}, domain=RPC_DOMAIN
        )


class _TokenValidity:
    """Verifies a stream's token again and again, and ends the stream once the token is invalid."""

    def __init__(self, verifier: Verifier, token: str) -> None:
        """Begins to check `token`. Needs a running loop."""
        self._verifier = verifier
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._refusal: Unauthenticated | None = None
        self._timeout: asyncio.Timeout | None = None
        self._timer: asyncio.Handle = self._loop.call_soon(self._verify)

    async def next(self, answers: AsyncIterator[Any]) -> Any:
        """The stream's next answer. Raises StopAsyncIteration, or Unauthenticated once the token is invalid.

        Only the wait for an answer is cut short, not the sending of one: that would cancel gRPC's own write.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            async with asyncio.timeout(None) as self._timeout:
                return await anext(answers)
        except TimeoutError:
            if self._refusal is None:
                raise
            raise self._refusal from None
        finally:
            self._timeout = None

    def close(self) -> None:
        """Ends the checks."""
        self._timer.cancel()

    def _verify(self) -> None:
        try:
            due = self._verifier.valid_for(self._token)
        except Unauthenticated as refusal:
            self._refusal = refusal
            if self._timeout is not None:
                self._timeout.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(due, self._verify)


def _single(metadata: Metadata, key: str) -> str | None:
    """The value of `key`; None without one. Raises Unauthenticated when there are several."""
    values = [value for name, value in metadata if name == key]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise Unauthenticated(f"metadata {key} must be given once", reason="TOKEN_INVALID", domain=RPC_DOMAIN)
    return values[0]


def _bearer_token(metadata: Metadata) -> str:
    value = _single(metadata, "authorization")
    if value is None:
        raise Unauthenticated(
            "the call carries no token (metadata authorization)", reason="TOKEN_MISSING", domain=RPC_DOMAIN
        )
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "metadata authorization must be: Bearer <token>", reason="TOKEN_INVALID", domain=RPC_DOMAIN
        )
    return token


@lru_cache(maxsize=1024)
def _in_tenant(principal: Principal, wanted: str | None) -> Principal:
    """A program, acting for the tenant that its call names."""
    if wanted is None:
        raise PermissionDenied(
            f"program {principal.program} must name the tenant of its call in {identity.TENANT_METADATA}",
            reason="TENANT_REQUIRED",
            domain=RPC_DOMAIN,
        )
    try:
        tenant = identity.checked_tenant(wanted)
    except ValueError as error:
        raise PermissionDenied(str(error), reason="TENANT_REQUIRED", domain=RPC_DOMAIN) from error
    if not principal.may_act_for(tenant):
        raise PermissionDenied(
            f"the token of program {principal.program} does not name tenant {tenant}",
            reason="OTHER_TENANT",
            domain=RPC_DOMAIN,
        )
    return replace(principal, tenant=tenant)
