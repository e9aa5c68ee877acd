"""Servicers of which a test writes only the RPCs that it is about."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

Servicer = TypeVar("Servicer", bound=type)


def partial_servicer(service: ServiceDescriptor) -> Callable[[Servicer], Servicer]:
    """Decorates a class that answers some RPCs of a service: the others are there, and fail the test.

    A server refuses a servicer that lacks an RPC; a test need not know those that it is not about.
    """

    def complete(servicer: Servicer) -> Servicer:
        for method in service.methods:
            behaviour = getattr(servicer, method.name, None)
            if not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour)):
                setattr(servicer, method.name, _failing(method))
        return servicer

    return complete


# Any: nobody looks at what such an RPC is asked.
def _failing(method: MethodDescriptor) -> Callable[..., Any]:
    async def answer(_self: object, _request: Any, _context: Any) -> Any:
        raise AssertionError(f"no test here answers {method.full_name}")

    async def stream(_self: object, _request: Any, _context: Any) -> AsyncIterator[Any]:
        yield await answer(_self, _request, _context)

    return stream if method.server_streaming else answer
