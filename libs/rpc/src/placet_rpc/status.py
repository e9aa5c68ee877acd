"""Mapping between Placet's errors and gRPC statuses, in both directions."""

from __future__ import annotations

import uuid
from typing import Final, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from placet_rpc import errors
from placet_rpc.errors import RPC_DOMAIN, FieldViolation, InvalidArgument, PlacetError

DETAILS_METADATA: Final = "grpc-status-details-bin"

_CLASSES: Final[dict[grpc.StatusCode, type[PlacetError]]] = {
    **{grpc.StatusCode[kind.grpc_kind.upper()]: kind for kind in PlacetError.__subclasses__()},
    # Sent by gRPC itself, never by a Placet service: a server that goes away, and a wrong contract.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.ABORTED: errors.Unavailable,
    grpc.StatusCode.UNKNOWN: errors.Internal,
}

# Reasons of errors that name none, where they are not their kind in upper case.
_REASONS: Final = {"invalid_argument": "CONSTRAINT_VIOLATED"}

# Messages for failures behind the service that the caller may retry. The failure's own message names
# addresses and files, so it stays in the log.
_PASSED_ON: Final[dict[str, tuple[type[PlacetError], str]]] = {
    "unavailable": (errors.Unavailable, "something that this service needs does not answer; try again"),
    "deadline_exceeded": (errors.DeadlineExceeded, "the time ran out while another service was asked"),
    "resource_exhausted": (
        errors.ResourceExhausted,
        "something that this service needs is overloaded; try later",
    ),
}

# All of a status travels in HTTP/2 headers, which peers refuse beyond 8 KiB: message (percent-encoded: up
# to 3 bytes each) and details (base64: 4/3) stay below that together.
_MESSAGE_BYTES: Final = 600
_VALUE_BYTES: Final = 300
_DETAILS_BYTES: Final = 3000
# A peer's longer delay is taken for this one.
_MOST_RETRY_SECONDS: Final = 86_400.0


def public_error(error: Exception) -> PlacetError:
    """The error to answer with in place of `error`, which a handler raised.

    A PlacetError of this process is for the caller. One that another service answered with is not: of
    those, and of foreign exceptions with a `grpc_kind`, only the kinds that may be retried are passed on,
    with a message of our own. Anything else is Internal with a fresh reference.
    """
    if isinstance(error, PlacetError) and not error.origin:
        return error
    kind = getattr(error, "grpc_kind", None)
    passed_on = _PASSED_ON.get(kind) if isinstance(kind, str) else None
    if passed_on is not None:
        kind_of_error, message = passed_on
        return kind_of_error(message)
    reference = uuid.uuid4().hex[:12]
    return errors.Internal(
        f"internal error; the service's log has it under reference {reference}",
        metadata={"reference": reference},
    )


def code_of(error: PlacetError) -> grpc.StatusCode:
    """The gRPC status code of `error`."""
    return grpc.StatusCode[error.grpc_kind.upper()]


def to_grpc(error: PlacetError, area: str) -> grpc.Status:
    """`error` as a status to abort with: ErrorInfo, BadRequest for InvalidArgument, RetryInfo if it is known.

    `area` ("audit") makes the domain of a reason that names none. An error without a reason gets the one of
    its kind from placet.rpc.v1.ErrorReason.
    """
    status = status_pb2.Status(code=code_of(error).value[0], message=_clipped(error.message, _MESSAGE_BYTES))
    info = error_details_pb2.ErrorInfo(
        reason=error.reason or _REASONS.get(error.grpc_kind, error.grpc_kind.upper()),
        domain=error.domain or (f"{area}.placet" if error.reason else RPC_DOMAIN),
        metadata={key: _clipped(value, _VALUE_BYTES) for key, value in error.metadata.items()},
    )
    status.details.add().Pack(info)
    if error.retry_after > 0:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
        status.details.add().Pack(retry)
    if isinstance(error, InvalidArgument):
        # Without a field the request as a whole is at fault.
        violations = error.violations or (FieldViolation("", error.message),)
        status.details.add().Pack(_bad_request(violations, _DETAILS_BYTES - status.ByteSize()))
    return cast(grpc.Status, rpc_status.to_status(status))


def from_grpc(error: grpc.aio.AioRpcError, origin: str) -> PlacetError:
    """The typed error behind a failed call to `origin` (an RPC's full name)."""
    code = error.code()
    kind = _CLASSES[code]
    info, bad_request, retry = _details(error)
    message = error.details() or code.name
    if info is None:
        # gRPC's own error, not a Placet service's: name the call.
        message = f"{origin}: {message}"
        info = error_details_pb2.ErrorInfo()
    reason, metadata, domain = info.reason, dict(info.metadata), info.domain
    if kind is InvalidArgument:
        violations = [FieldViolation(item.field, item.description) for item in bad_request.field_violations]
        return InvalidArgument(
            message, violations=violations, reason=reason, metadata=metadata, domain=domain, origin=origin
        )
    return kind(
        message,
        reason=reason,
        metadata=metadata,
        domain=domain,
        origin=origin,
        retry_after=min(max(retry.retry_delay.ToMilliseconds() / 1000, 0.0), _MOST_RETRY_SECONDS),
    )


def _bad_request(violations: tuple[FieldViolation, ...], room: int) -> error_details_pb2.BadRequest:
    """As many violations as fit into `room` bytes, and how many did not."""
    request = error_details_pb2.BadRequest()
    for position, violation in enumerate(violations):
        field, description = (
            _clipped(violation.field, _VALUE_BYTES),
            _clipped(violation.description, _VALUE_BYTES),
        )
        room -= len(field.encode()) + len(description.encode()) + 8
        if room < 0:
            request.field_violations.add(description=f"and {len(violations) - position} more")
            break
        request.field_violations.add(field=field, description=description)
    return request


def _details(
    error: grpc.aio.AioRpcError,
) -> tuple[error_details_pb2.ErrorInfo | None, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    """The details of a failed call; without ErrorInfo when it carries no readable google.rpc.Status."""
    status = status_pb2.Status()
    info = error_details_pb2.ErrorInfo()
    bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_METADATA and isinstance(value, bytes):
            break
    else:
        return None, bad_request, retry
    try:
        status.ParseFromString(value)
        for detail in status.details:
            for known in (info, bad_request, retry):
                # Unpack parses only a detail of the message's own type.
                detail.Unpack(known)
    except DecodeError:
        return None, error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    return info, bad_request, retry


def _clipped(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8, cut between characters."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode(errors="ignore") + "…"
