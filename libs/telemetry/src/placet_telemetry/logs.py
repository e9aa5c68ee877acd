"""Logs on stderr: one JSON object a line, or a readable line on a terminal.

All code logs with the standard library: the sentence is the message, fields go into `extra`. structlog only
formats the records.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

import structlog
from opentelemetry import trace
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from placet_telemetry.redaction import redact

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# They log each step, some with the values of queries, which may be what people wrote.
_TALKATIVE = ("alembic", "asyncio", "httpcore2", "httpx2", "openai", "psycopg")
# While a backend is away the exporters log it at every attempt.
_EXPORTERS = ("opentelemetry.exporter", "opentelemetry.sdk")
_QUIET_SECONDS = 60.0


def configure_logging(service: str, stream: TextIO | None = None) -> None:
    """Sends all logging of this process to `stream`, by default stderr.

    PLACET_LOG_LEVEL sets the least level, by default INFO; ValueError if it names none. Each line carries
    service, trace id and span id where there are any; what looks like a credential is replaced.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(service, readable=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Logger filters do not see the records of child loggers; a handler's filters see all.
    handler.addFilter(_is_no_detach_noise)
    handler.addFilter(_Occasionally(_EXPORTERS, _QUIET_SECONDS))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def _level() -> str:
    level = os.environ.get("PLACET_LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        raise ValueError(f"PLACET_LOG_LEVEL is {level}; it must be one of {', '.join(LEVELS)}")
    return level


def _formatter(service: str, *, readable: bool) -> ProcessorFormatter:
    # Plain tracebacks: the rich ones print local variables.
    render: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer()
    )
    return ProcessorFormatter(
        processors=[
            ProcessorFormatter.remove_processors_meta,
            _naming(service),
            _with_trace,
            structlog.processors.format_exc_info,
            # After tracebacks have become text, because they quote what was passed around.
            redact,
            render,
        ],
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
    )


def _naming(service: str) -> Processor:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        # First what every line has, so that lines read alike.
        first: EventDict = {"timestamp": None, "level": method, "service": service}
        return stamp(logger, method, {**first, **event})

    return name


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _is_no_detach_noise(record: logging.LogRecord) -> bool:
    # A generator closed from another context detaches there what it attached here: harmless, and loud.
    return not (record.name == "opentelemetry.context" and "Failed to detach context" in record.getMessage())


class _Occasionally:
    """Lets the same message of the same logger pass once in a while."""

    def __init__(
        self, names: tuple[str, ...], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = names
        self._seconds = seconds
        self._clock = clock
        self._passed: dict[tuple[str, object], float] = {}

    def __call__(self, record: logging.LogRecord) -> bool:
        """False for a record that repeats one of the last while."""
        if not record.name.startswith(self._names):
            return True
        now = self._clock()
        # The message before its arguments, which hold times and counts.
        key = (record.name, str(record.msg))
        last = self._passed.get(key)
        if last is not None and now - last < self._seconds:
            return False
        self._passed[key] = now
        return True


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("placet").critical("the process ends by an error", exc_info=(kind, error, traceback))
