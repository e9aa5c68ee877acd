"""Interceptors of every call to a Placet server, outermost first: see `server_interceptors`.

gRPC would walk a list of interceptors for every call. Here each one wraps a method's handler once, when
the method is first called; `InterceptorChain` is the only one that gRPC sees.
"""

from __future__ import annotations

from placet_rpc.access_refusals import Refusals
from placet_rpc.calls import Calls
from placet_rpc.interceptors.auth import Admission, Authentication, Authorization
from placet_rpc.interceptors.base import Interceptor
from placet_rpc.interceptors.chain import InterceptorChain
from placet_rpc.interceptors.error_mapping import ErrorMapping
from placet_rpc.interceptors.observability import RequestLog, Tracing, Tracking
from placet_rpc.interceptors.validation import Validation
from placet_rpc.tokens.verify import Verifier

__all__ = ["InterceptorChain", "server_interceptors"]


def server_interceptors(calls: Calls, refusals: Refusals, verifier: Verifier) -> list[Interceptor]:
    """The interceptors of a server, outermost first. The order is a promise, and a test holds it.

    Tracing is outside of error mapping, so that failed calls are traced as failed; nothing is parsed for
    who is not authenticated, and nothing is validated for who may not call.
    """
    return [
        Tracking(calls),
        Tracing(),
        RequestLog(),
        ErrorMapping(calls, refusals),
        Admission(calls),
        Authentication(verifier),
        Authorization(),
        Validation(),
    ]
