"""Identity of the caller, and the tenant of outgoing calls. No grpc."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from placet.event.v1 import event_pb2
from placet.rpc.v1 import access_pb2

# Role of Placet's own programs, alone in its token: they act for the tenant in the call's metadata; all other
# callers for their token's.
PROGRAM_ROLE = "program"
# Roles that see all requests, deliveries and receipts of a tenant. All others see what they asked for or were
# asked. Which RPC a role may call at all is a matter of the contract's `access`.
SEES_ALL_ROLES = frozenset({"auditor", "operator", PROGRAM_ROLE})
# The element of a program's `tenants` that stands for all of them.
ALL_TENANTS = "*"

TENANT_METADATA = "placet-tenant"

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def program_name(program: access_pb2.Program.ValueType) -> str:
    """A program's name, as its token's subject: `worker-default` for PROGRAM_WORKER_DEFAULT."""
    return access_pb2.Program.Name(program).removeprefix("PROGRAM_").lower().replace("_", "-")


PROGRAMS = frozenset(
    program_name(program)
    for program in access_pb2.Program.values()
    if program != access_pb2.PROGRAM_UNSPECIFIED
)
"""Names of the programs of Placet that call others."""


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    `subject` is a person's e-mail address as `normalize_address` returns it, or a program's name; `tenant`
    the one that this call is about; `roles` the names of `placet.rpc.v1.Role` in lower case without prefix;
    `authenticated_by` the method of authentication, e.g. `jwt:placet-embedded`; `tenants` those that a
    program's token names, ALL_TENANTS among them for all.
    """

    subject: str
    tenant: str
    roles: frozenset[str]
    authenticated_by: str
    tenants: frozenset[str] = frozenset()

    @property
    def program(self) -> str:
        """Name of the program of Placet that calls; empty for people and all other callers."""
        return self.subject if PROGRAM_ROLE in self.roles else ""

    def may_act_for(self, tenant: str) -> bool:
        """True if a program's token names the tenant."""
        return tenant in self.tenants or ALL_TENANTS in self.tenants

    def own_key(self, idempotency_key: str) -> str:
        """The key within the caller's own: what one program used, another still finds free."""
        # No subject of a program holds a slash, so different callers never get the same key.
        return f"{self.subject}/{idempotency_key}"

    @property
    def sees_all(self) -> bool:
        """True for roles that see all requests of the tenant."""
        return not self.roles.isdisjoint(SEES_ALL_ROLES)

    @property
    def is_person(self) -> bool:
        """True if a person acts: people have an address, and are no program of Placet."""
        return "@" in self.subject and not self.program


_principal: ContextVar[Principal | None] = ContextVar("placet_principal", default=None)
_token: ContextVar[str | None] = ContextVar("placet_token", default=None)
_acting_for: ContextVar[str | None] = ContextVar("placet_acting_for", default=None)


def actor_of(principal: Principal) -> event_pb2.Actor:
    """The caller as the actor of an event: a person by their address, anything else a service."""
    is_person = principal.is_person
    return event_pb2.Actor(
        kind=event_pb2.ACTOR_KIND_PERSON if is_person else event_pb2.ACTOR_KIND_SERVICE,
        name=event_pb2.Erasable(value=principal.subject),
        authenticated_by=principal.authenticated_by[:200] if is_person else "",
    )


def normalize_address(name: str) -> str:
    """A person's address without blanks around it and in lower case; a program's name as it is.

    RFC 5321, 2.4 leaves it to each host whether the part before the @ knows upper case; none that people use
    does, and two spellings of one person must not be two people. Only ASCII is changed: Unicode has letters
    whose lower case is that of another (the Kelvin sign's is k), and two people must not be one.
    """
    return name.strip(string.whitespace).translate(_SMALL) if "@" in name else name


def current() -> Principal:
    """The caller of the RPC that is being handled. Raises LookupError outside of one."""
    principal = _principal.get()
    if principal is None:
        raise LookupError("no authenticated call is being handled here")
    return principal


def current_or_none() -> Principal | None:
    """The caller of the RPC that is being handled; None outside of one."""
    return _principal.get()


def current_token() -> str:
    """The token of the RPC that is being handled, to pass its caller's word on to another service. Raises
    LookupError outside of one."""
    token = _token.get()
    if token is None:
        raise LookupError("no authenticated call is being handled here")
    return token


def enter(principal: Principal, token: str) -> None:
    """Makes `principal` the caller until the present task ends. For the authentication interceptor."""
    # Never reset: each RPC has its own task and so its own context, and a stream's end may run in another.
    _principal.set(principal)
    _token.set(token)


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Calls made inside carry `tenant` in their metadata. Raises ValueError if it is no tenant's name."""
    token = _acting_for.set(checked_tenant(tenant))
    try:
        yield
    finally:
        _acting_for.reset(token)


def outgoing_tenant() -> str | None:
    """The tenant of calls made now: `acting_for`'s, else that of the call being handled."""
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
