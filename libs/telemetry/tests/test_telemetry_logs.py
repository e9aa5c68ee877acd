"""Fields of a log line, and values that none may hold."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from placet_telemetry import configure_logging
from placet_telemetry.logs import _Occasionally
from placet_telemetry.redaction import REDACTED, redact


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook)
    yield
    root.handlers[:], level, sys.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("approval", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_service(stream: io.StringIO) -> None:
    logging.getLogger("placet.test").info("appended", extra={"entries": 3, "note": "two\nlines"})
    logging.getLogger("library").warning("slow: %s s", 5, extra={"attempt": 2})
    ours, theirs = lines(stream)
    assert ours == {
        "timestamp": ours["timestamp"],
        "level": "info",
        "service": "approval",
        "event": "appended",
        "entries": 3,
        "note": "two\nlines",
    }
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"], theirs["attempt"]) == ("slow: 5 s", "warning", 2)


def test_a_line_names_the_span_that_it_was_written_in(stream: io.StringIO) -> None:
    with TracerProvider().get_tracer("t").start_as_current_span("call") as span:
        logging.getLogger("placet.test").info("inside")
        logging.getLogger("library").warning("inside too")
    logging.getLogger("placet.test").info("outside")
    inside, inside_too, outside = lines(stream)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert inside["trace_id"] == inside_too["trace_id"] == trace_id
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_an_exception_stays_on_its_line(stream: io.StringIO) -> None:
    try:
        raise LookupError("Authorization: Bearer abcdefghijklmnop")
    except LookupError:
        logging.getLogger("placet.test").exception("failed")
        logging.getLogger("library").exception("failed")
    for line in lines(stream):
        assert "LookupError" in line["exception"]
        assert "abcdefghijklmnop" not in line["exception"]


def test_a_person_reads_lines_and_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging("approval", stream)
    try:
        password = "from a local variable"
        raise LookupError(len(password))
    except LookupError:
        logging.getLogger("placet.test").exception("failed", extra={"token": "abc"})
    assert "failed" in stream.getvalue()
    assert "from a local variable" not in stream.getvalue().replace('password = "from a local variable"', "")
    assert "abc" not in stream.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("authorization", "Bearer x"),
        ("Authorization", b"Bearer x"),
        ("access_token", "x"),
        ("client_secret", "x"),
        ("smtp_password", "x"),
        ("apiKey", "x"),
        ("private-key", "x"),
        ("payload_key", "x"),
        ("set-cookie", "x"),
    ],
)
def test_what_a_key_calls_secret_is_not_logged(key: str, value: object) -> None:
    event = {"event": "x", key: value, "deep": [{"headers": {key: value}}], f"all_{key}": {"a": [value]}}
    redacted = redact(None, "info", event)
    assert redacted[key] == REDACTED
    assert redacted["deep"] == [{"headers": {key: REDACTED}}]
    assert redacted[f"all_{key}"] == {"a": [REDACTED]}


@pytest.mark.parametrize(
    "text",
    [
        "sent 'authorization: Bearer s3cr3t.s3cr3t.s3cr3t' to the server",
        "refused eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJzM2NyM3QifQ.s3cr3t",
        "connecting to postgresql://placet:s3cr3t@database/audit",
    ],
)
def test_what_looks_like_a_credential_is_not_logged(text: str) -> None:
    redacted = redact(None, "info", {"event": text, "nested": {"message": text}})
    assert REDACTED in redacted["event"]
    for secret in ("s3cr3t", "eyJzdWIi"):
        assert secret not in str(redacted)


def test_numbers_and_plain_text_stay() -> None:
    event = {"event": "a decision by alice@example.com", "tokens": 12, "url": "https://example.com/a:b@c"}
    assert redact(None, "info", dict(event)) == event


def test_the_level_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_LOG_LEVEL", "warning")
    stream = io.StringIO()
    configure_logging("approval", stream)
    logging.getLogger("placet.level").info("not this")
    logging.getLogger("placet.level").warning("this")
    assert [line["event"] for line in lines(stream)] == ["this"]


def test_a_level_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_LOG_LEVEL", "chatty")
    with pytest.raises(ValueError, match="CHATTY"):
        configure_logging("approval", io.StringIO())


def test_detaching_in_another_context_is_not_noise(stream: io.StringIO) -> None:
    logging.getLogger("opentelemetry.context").error("Failed to detach context")
    logging.getLogger("opentelemetry.context").error("something else")
    assert [line["event"] for line in lines(stream)] == ["something else"]


def test_an_exporter_complains_once_in_a_while() -> None:
    now = 0.0
    passes = _Occasionally(("opentelemetry.exporter",), 60, clock=lambda: now)
    record = logging.LogRecord("opentelemetry.exporter.x", logging.ERROR, "", 0, "away for %s s", (1,), None)
    other = logging.LogRecord("placet.audit", logging.ERROR, "", 0, "away for %s s", (1,), None)
    assert [passes(record), passes(record), passes(other), passes(other)] == [True, False, True, True]
    now = 61.0
    assert passes(record)


def test_without_set_up_a_logger_can_be_captured(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("placet.captured").info("seen", extra={"entries": 1})
    assert "seen" in caplog.text


def test_an_uncaught_error_is_one_line(stream: io.StringIO) -> None:
    error = LookupError("nobody caught this")
    sys.excepthook(LookupError, error, None)
    (line,) = lines(stream)
    assert line["level"] == "critical"
    assert "nobody caught this" in line["exception"]
