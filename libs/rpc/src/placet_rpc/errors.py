"""The errors that cross Placet's RPCs. Pure: no grpc, no pb2, so that `domain.py` may raise them.

A servicer, or the domain below it, raises one of these; `placet_rpc.status` is the one place that turns
it into a gRPC status; the client raises the same class again on the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

# The domain of reasons that belong to no area: what placet_rpc itself refuses.
RPC_DOMAIN: Final = "rpc.placet"


@dataclass(frozen=True)
class FieldViolation:
    """One broken input rule.

    `field` is the path below the request message, e.g. `content.body` or `labels["team"]`; empty when
    the rule is about the message as a whole. `description` says what must hold.
    """

    field: str
    description: str


class PlacetError(Exception):
    """An error that crosses an RPC.

    `message` is shown to the caller as it is: say what went wrong and what to do, never internals.
    `reason` is the name in the area's `ErrorReason` enum without its prefix, e.g. `CLOSED`; `metadata`
    holds that reason's values. `domain` is `<area>.placet`; left empty, the server fills in its own.
    `origin` is the RPC that answered with this error; empty for one that was raised in this process.
    `retry_after`: seconds after which the same call may succeed (google.rpc.RetryInfo); 0: not known.
    """

    # Any exception with this attribute is answered with the status of that name (see placet_rpc.status);
    # so libraries below placet_rpc can say "unavailable" without importing it.
    grpc_kind: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        domain: str = "",
        origin: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.domain = domain
        self.origin = origin
        self.retry_after = retry_after


class InvalidArgument(PlacetError):
    """The request itself is wrong, whatever the state. `violations` name the fields at fault."""

    grpc_kind = "invalid_argument"

    def __init__(
        self,
        message: str,
        *,
        violations: Iterable[FieldViolation] = (),
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        domain: str = "",
        origin: str = "",
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata, domain=domain, origin=origin)
        self.violations = tuple(violations)


class NotFound(PlacetError):
    """It does not exist, or the caller may not know that it does."""

    grpc_kind = "not_found"


class AlreadyExists(PlacetError):
    """The idempotency key was used with another payload."""

    grpc_kind = "already_exists"


class FailedPrecondition(PlacetError):
    """The state forbids it; the same call again will fail too."""

    grpc_kind = "failed_precondition"


class PermissionDenied(PlacetError):
    """The caller is known, and is not allowed to. Such refusals are audited."""

    grpc_kind = "permission_denied"


class Unauthenticated(PlacetError):
    """The caller is not known."""

    grpc_kind = "unauthenticated"


class Unavailable(PlacetError):
    """A service or database does not answer now; the same call again converges."""

    grpc_kind = "unavailable"


class OutOfRange(PlacetError):
    """The request reaches beyond what exists."""

    grpc_kind = "out_of_range"


class ResourceExhausted(PlacetError):
    """A stated bound is reached: a size, a rate, a number of calls."""

    grpc_kind = "resource_exhausted"


class DeadlineExceeded(PlacetError):
    """The time ran out; whether the call took effect is unknown."""

    grpc_kind = "deadline_exceeded"


class DataLoss(PlacetError):
    """Stored data is missing or changed."""

    grpc_kind = "data_loss"


class Unimplemented(PlacetError):
    """The contract names it, and this version does not serve it."""

    grpc_kind = "unimplemented"


class Internal(PlacetError):
    """An unexpected error; `metadata["reference"]` finds it in the server's log."""

    grpc_kind = "internal"


def ends_stream_only(error: PlacetError, *, fresh_token: bool = False) -> bool:
    """True if a stream that ended with `error` goes on when it is opened again, from the position after the
    last message: the service was away, or the token ended and its source has a fresh one by now.

    `fresh_token`: the source has another token than the stream's, so that a revoked one is replaced.
    """
    if isinstance(error, Unauthenticated):
        return fresh_token or error.reason == "TOKEN_EXPIRED"
    return isinstance(error, Unavailable | DeadlineExceeded)
