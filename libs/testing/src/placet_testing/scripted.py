"""Stand-ins for services, of which a test writes only the RPCs that it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from google.protobuf.descriptor import ServiceDescriptor

Scripted = TypeVar("Scripted")


def others_refuse(service: ServiceDescriptor) -> Callable[[type[Scripted]], type[Scripted]]:
    """Gives a fake the RPCs of its service that no test here calls."""

    async def unary(self: object, request: object, context: object) -> None:
        raise AssertionError("no test of this calls it")

    async def stream(self: object, request: object, context: object) -> AsyncIterator[None]:
        nothing: tuple[None, ...] = ()
        for answer in nothing:
            yield answer

    def complete(fake: type[Scripted]) -> type[Scripted]:
        for method in service.methods:
            if not hasattr(fake, method.name):
                setattr(fake, method.name, stream if method.server_streaming else unary)
        return fake

    return complete
