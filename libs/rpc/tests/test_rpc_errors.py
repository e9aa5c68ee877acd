"""Errors keep their type, their reason and their fields across an RPC, and leak nothing else."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from placet_rpc import errors, status
from placet_rpc.errors import FieldViolation, InvalidArgument, PlacetError

KINDS = sorted(PlacetError.__subclasses__(), key=lambda kind: kind.__name__)


def across(error: PlacetError, area: str = "audit") -> PlacetError:
    """`error` as the other side of an RPC gets it."""
    sent: Any = status.to_grpc(error, area)
    received = grpc.aio.AioRpcError(
        sent.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*sent.trailing_metadata),
        sent.details,
    )
    return status.from_grpc(received, "placet.audit.v1.AuditService/ListEvents")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_arrives_as_itself(kind: type[PlacetError]) -> None:
    error = across(kind("not now", reason="GAP", metadata={"next": "3"}))

    assert type(error) is kind
    assert (error.message, str(error)) == ("not now", "not now")
    assert (error.reason, error.metadata, error.domain) == ("GAP", {"next": "3"}, "audit.placet")
    assert error.origin == "placet.audit.v1.AuditService/ListEvents"


def test_every_kind_has_a_code_of_its_own() -> None:
    codes = {status.code_of(kind("x")) for kind in KINDS}

    assert len(codes) == len(KINDS) == 13


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_carries_a_reason_and_its_domain(kind: type[PlacetError]) -> None:
    error = across(kind("not now"))

    expected = "CONSTRAINT_VIOLATED" if kind is InvalidArgument else kind.grpc_kind.upper()
    assert (error.reason, error.domain) == (expected, "rpc.placet")


def test_the_time_after_which_to_call_again_arrives_within_its_bounds() -> None:
    assert across(errors.Unavailable("busy", retry_after=2.5)).retry_after == 2.5
    assert across(errors.Unavailable("busy")).retry_after == 0
    assert across(errors.Unavailable("busy", retry_after=1e9)).retry_after == 86_400


def test_an_invalid_argument_always_names_its_fields() -> None:
    error = across(InvalidArgument("the parts do not fit together"))

    assert isinstance(error, InvalidArgument)
    assert error.violations == (FieldViolation("", "the parts do not fit together"),)


def test_field_violations_arrive_with_their_paths() -> None:
    violations = [FieldViolation("content.body", "is empty"), FieldViolation("", "of the whole message")]

    error = across(InvalidArgument("wrong", violations=violations))

    assert isinstance(error, InvalidArgument)
    assert list(error.violations) == violations


def test_a_status_fits_into_headers_however_much_there_is_to_say() -> None:
    violations = [FieldViolation(f"events[{n}]." + "é" * 300, "ü" * 400) for n in range(200)]
    error = InvalidArgument("ß" * 5000, violations=violations, reason="X", metadata={"k": "v" * 9000})

    sent: Any = status.to_grpc(error, "audit")
    arrived = across(error)

    encoded = len(sent.details.encode()) * 3 + len(sent.trailing_metadata[0][1]) * 4 / 3
    assert encoded < 8192 - 500
    assert isinstance(arrived, InvalidArgument)
    assert arrived.violations[-1].description.startswith("and ")


def test_an_unexpected_exception_becomes_a_reference_without_its_text() -> None:
    told = status.public_error(RuntimeError("password=hunter2"))

    assert isinstance(told, errors.Internal)
    assert "hunter2" not in told.message
    assert told.metadata["reference"] in told.message


def test_a_foreign_exception_may_call_itself_unavailable_but_keeps_its_text() -> None:
    class DatabaseUnavailable(Exception):
        grpc_kind = "unavailable"

    told = status.public_error(DatabaseUnavailable("sqlite:////secret/path is locked"))

    assert isinstance(told, errors.Unavailable)
    assert "secret" not in told.message


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (errors.Unavailable("10.0.0.7:7401 refused", origin="a.B/C"), errors.Unavailable),
        (errors.DeadlineExceeded("late", origin="a.B/C"), errors.DeadlineExceeded),
        (errors.ResourceExhausted("full", origin="a.B/C"), errors.ResourceExhausted),
        (errors.PermissionDenied("you may not", origin="a.B/C"), errors.Internal),
        (errors.Unauthenticated("who are you", origin="a.B/C"), errors.Internal),
        (errors.NotFound("no such", origin="a.B/C"), errors.Internal),
    ],
)
def test_what_another_service_answered_is_not_passed_on_as_our_own_word(
    received: PlacetError, expected: type[PlacetError]
) -> None:
    told = status.public_error(received)

    assert type(told) is expected
    assert received.message not in told.message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.UNKNOWN, errors.Internal),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unimplemented),
    ],
)
def test_what_grpc_itself_says_is_typed_too_and_names_the_call(
    code: grpc.StatusCode, expected: type[PlacetError]
) -> None:
    raw = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "details")

    error = status.from_grpc(raw, "a.B/C")

    assert type(error) is expected
    assert error.message == "a.B/C: details"


def test_every_code_of_grpc_has_a_typed_error() -> None:
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            raw = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "")
            assert isinstance(status.from_grpc(raw, "a.B/C"), PlacetError)


def test_unreadable_details_do_not_hide_the_code() -> None:
    trailing = grpc.aio.Metadata((status.DETAILS_METADATA, b"\xff\xff\xff"))
    raw = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, "gone")

    assert isinstance(status.from_grpc(raw, "a.B/C"), errors.NotFound)
