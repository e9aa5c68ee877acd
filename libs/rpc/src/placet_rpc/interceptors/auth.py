"""Who is let in: within the bound, known by a token, in a role that the contract names."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from placet_rpc import identity
from placet_rpc.access import Method
from placet_rpc.calls import Calls
from placet_rpc.errors import RPC_DOMAIN, PermissionDenied, Unauthenticated
from placet_rpc.identity import Principal
from placet_rpc.interceptors.base import Context, Guard, Metadata, metadata_of
from placet_rpc.tokens.verify import Verifier


class Admission(Guard):
    """Refuses calls beyond the server's bound, and new streams while it stops."""

    name = "admission"

    def __init__(self, calls: Calls) -> None:
        """`calls` knows the bound."""
        self._calls = calls

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        self._calls.admit(streaming=method.streaming)


class Authentication(Guard):
    """Finds out who calls, from the bearer token in the metadata, and for which tenant."""

    name = "authentication"

    def __init__(self, verifier: Verifier) -> None:
        """`verifier` judges tokens."""
        self._verifier = verifier

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        metadata = metadata_of(context)
        principal = self._verifier.verify(_bearer_token(metadata))
        # Before the tenant is judged, so that a refusal is recorded with who asked, in their own tenant.
        identity.enter(principal)
        wanted = _single(metadata, identity.TENANT_METADATA)
        if principal.names_tenant:
            identity.enter(_in_tenant(principal, wanted))
        elif wanted is not None and wanted != principal.tenant:
            raise PermissionDenied(
                "the token is for another tenant", reason="OTHER_TENANT", domain=RPC_DOMAIN
            )


class Authorization(Guard):
    """Lets in who holds one of the roles that the contract names for the method."""

    name = "authorization"

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        if method.roles.isdisjoint(identity.current().roles):
            raise PermissionDenied(
                f"{method.name} needs one of the roles: {', '.join(sorted(method.roles))}",
                reason="ROLE_REQUIRED",
                domain=RPC_DOMAIN,
            )


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
    """A worker or service, acting for the tenant that its call names."""
    if wanted is None:
        raise PermissionDenied(
            f"a worker or service must say for which tenant it calls (metadata {identity.TENANT_METADATA})",
            reason="TENANT_REQUIRED",
            domain=RPC_DOMAIN,
        )
    try:
        tenant = identity.checked_tenant(wanted)
    except ValueError as error:
        raise PermissionDenied(str(error), reason="TENANT_REQUIRED", domain=RPC_DOMAIN) from error
    return replace(principal, tenant=tenant)
