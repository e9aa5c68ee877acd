"""Who calls, and for which tenant the next calls are made. Pure: no grpc, no pb2."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# Those who hold one of these act for the tenant in the call's metadata; all others for their token's.
TENANT_FREE_ROLES = frozenset({"worker", "service"})

TENANT_METADATA = "placet-tenant"

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    `subject` is a person's e-mail address in its `one_spelling`, or a program's name; `tenant` the one
    that this call is about; `roles` the names of `placet.rpc.v1.Role` in lower case without prefix;
    `authenticated_by` how the caller was recognised, e.g. `jwt:placet-embedded`.
    """

    subject: str
    tenant: str
    roles: frozenset[str]
    authenticated_by: str

    @property
    def names_tenant(self) -> bool:
        """Whether the call's metadata says for which tenant it is made."""
        return not self.roles.isdisjoint(TENANT_FREE_ROLES)

    @property
    def is_person(self) -> bool:
        """Whether a person acts: people go by an address, and hold no program's role."""
        return "@" in self.subject and not self.names_tenant


_principal: ContextVar[Principal | None] = ContextVar("placet_principal", default=None)
_acting_for: ContextVar[str | None] = ContextVar("placet_acting_for", default=None)


def one_spelling(name: str) -> str:
    """The one way in which a person's address is written: without blanks around it, in small letters. A
    program's name is returned as it is.

    RFC 5321, 2.4 leaves it to each host whether the part before the @ knows upper case; none that people use
    does, and two spellings of one person must not be two people. Only ASCII is changed: Unicode has letters
    whose small form is that of another (the Kelvin sign's is k), and two people must not be one.
    """
    return name.strip(string.whitespace).translate(_SMALL) if "@" in name else name


def current() -> Principal:
    """The caller of the RPC that is being handled. Raises LookupError outside of one."""
    principal = _principal.get()
    if principal is None:
        raise LookupError("no authenticated call is being handled here")
    return principal


def current_or_none() -> Principal | None:
    """The caller of the RPC that is being handled, if one is."""
    return _principal.get()


def enter(principal: Principal) -> None:
    """Makes `principal` the caller until the present task ends. For the authentication interceptor."""
    # Never reset: each RPC has its own task and so its own context, and a stream's end may run in another.
    _principal.set(principal)


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Calls made inside carry `tenant` in their metadata. Raises ValueError if it is no tenant's name."""
    token = _acting_for.set(checked_tenant(tenant))
    try:
        yield
    finally:
        _acting_for.reset(token)


def outgoing_tenant() -> str | None:
    """The tenant that calls made now are about: `acting_for`'s, else that of the call being handled."""
    chosen = _acting_for.get()
    if chosen is not None:
        return chosen
    principal = _principal.get()
    return principal.tenant if principal is not None else None


def checked_tenant(tenant: str) -> str:
    """`tenant`, if it is a tenant's name: 1 to 63 letters, digits, dots, dashes, underscores."""
    if not _TENANT.fullmatch(tenant):
        raise ValueError("a tenant's name has 1 to 63 letters, digits, dots, dashes and underscores")
    return tenant
