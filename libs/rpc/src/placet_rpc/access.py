"""RPCs of a server and who may call them, read once from the contracts' descriptors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from placet.rpc.v1 import access_pb2
from placet_rpc.identity import Principal, program_name


class ContractError(Exception):
    """A contract, or a servicer of it, that a server cannot serve safely; it refuses to start."""


@dataclass(frozen=True)
class Method:
    """One RPC, with everything about it that a call needs, so that no call looks at a descriptor."""

    path: str  # "/placet.audit.v1.AuditService/AppendEvents", as on the wire
    name: str  # the same without the first slash, as in traces
    area: str  # "audit"
    roles: frozenset[str]  # of people and callers
    programs: frozenset[str]
    streaming: bool  # answers with a stream
    decode: Callable[[bytes], Message]
    encode: Callable[[Message], bytes]
    approval_field: str  # path of the request's field that names the approval; "" when there is none

    def admits(self, caller: Principal) -> bool:
        """True if the contract names the calling program, or one of the roles of any other caller."""
        return caller.program in self.programs if caller.program else not self.roles.isdisjoint(caller.roles)

    def approval_id(self, request: bytes) -> str:
        """The id of the approval that `request` is about; "" when it names none, or nothing like an id."""
        if not self.approval_field:
            return ""
        try:
            value = str(attrgetter(self.approval_field)(self.decode(request)))
            return str(UUID(value)) if len(value) == 36 else ""
        except (DecodeError, ValueError):
            return ""


def methods_of(services: Iterable[ServiceDescriptor]) -> dict[str, Method]:
    """All RPCs of `services` by path. Raises ContractError when one names nobody, or streams requests."""
    methods = (_method(method) for service in services for method in service.methods)
    return {method.path: method for method in methods}


def check_servicer(service: ServiceDescriptor, servicer: object) -> None:
    """Raises ContractError unless `servicer` answers each RPC as grpc.aio and the interceptors expect."""
    for method in service.methods:
        behaviour = getattr(servicer, method.name, None)
        if method.server_streaming and not inspect.isasyncgenfunction(behaviour):
            raise ContractError(f"{method.full_name} must be an async generator, which yields its answers")
        if not method.server_streaming and not inspect.iscoroutinefunction(behaviour):
            raise ContractError(f"{method.full_name} must be an async function, which returns its answer")


def access_of(method: MethodDescriptor) -> tuple[frozenset[str], frozenset[str]]:
    """Roles (in lower case without prefix) and programs that may call `method`. Raises ContractError if there
    are none, or one that an RPC cannot name."""
    access = method.GetOptions().Extensions[access_pb2.access]
    if not access.roles and not access.programs:
        raise ContractError(f"{method.full_name} names nobody in option placet.rpc.v1.access")
    for role in (access_pb2.ROLE_UNSPECIFIED, access_pb2.ROLE_PROGRAM):
        if role in access.roles:
            name = access_pb2.Role.Name(role)
            raise ContractError(f"{method.full_name} names {name} in option placet.rpc.v1.access")
    if access_pb2.PROGRAM_UNSPECIFIED in access.programs:
        raise ContractError(f"{method.full_name} names PROGRAM_UNSPECIFIED in option placet.rpc.v1.access")
    roles = (access_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in access.roles)
    return frozenset(roles), frozenset(map(program_name, access.programs))


def _method(method: MethodDescriptor) -> Method:
    if method.client_streaming:
        raise ContractError(f"{method.full_name} streams its requests, which no interceptor here can check")
    service = method.containing_service
    package = service.file.package.split(".")
    name = f"{service.full_name}/{method.name}"
    roles, programs = access_of(method)
    return Method(
        path=f"/{name}",
        name=name,
        area=package[1] if len(package) > 1 else package[0],
        roles=roles,
        programs=programs,
        streaming=method.server_streaming,
        decode=GetMessageClass(method.input_type).FromString,
        encode=_encoder(GetMessageClass(method.output_type)),
        approval_field=_approval_field(method),
    )


def _encoder(answer_class: type[Message]) -> Callable[[Message], bytes]:
    """To bytes, for answers of that class only: protobuf would send any message as if it were right."""

    def encode(answer: Message) -> bytes:
        if not isinstance(answer, answer_class):
            raise TypeError(f"the handler answered with {type(answer).__name__}, not {answer_class.__name__}")
        return answer.SerializeToString()

    return encode


def _approval_field(method: MethodDescriptor) -> str:
    """`approval_id` of the request, else that of its filter."""
    fields = method.input_type.fields_by_name
    if "approval_id" in fields:
        return "approval_id"
    chosen = fields["filter"].message_type if "filter" in fields else None
    return "filter.approval_id" if chosen is not None and "approval_id" in chosen.fields_by_name else ""
