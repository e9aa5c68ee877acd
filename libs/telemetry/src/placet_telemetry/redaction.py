"""Redaction of credentials in logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"authori[sz]ation|token|secret|passw|passphrase|api[-_]?key|private[-_]?key|payload[-_]?key"
    r"|credential|cookie|jwt|bearer",
    re.IGNORECASE,
)
# Where no key warns: a bearer's credential, a JWT (RFC 7519: base64url of '{"…'), a password in a URL.
_SECRET_TEXT = re.compile(
    r"(?P<bearer>\bbearer\s+)[\w.~+/=-]{8,}"
    r"|\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"
    r"|(?P<scheme>\b[a-z][a-z0-9+]*://[^\s:/@]*:)[^\s/@]+(?=@)",
    re.IGNORECASE,
)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: replaces what may be a credential in the event, by its key or by its shape.

    Numbers stay, because `tokens=12` counts.
    """
    return {key: _redacted(value, secret=_names_a_secret(key)) for key, value in event.items()}


def _names_a_secret(key: object) -> bool:
    return isinstance(key, str) and _SECRET_KEY.search(key) is not None


def _redacted(value: Any, *, secret: bool) -> Any:  # Any: what people log has no type
    if isinstance(value, str):
        return REDACTED if secret and value else _without_secrets(value)
    if isinstance(value, bytes):
        return REDACTED if secret else value
    if isinstance(value, Mapping):
        return {key: _redacted(item, secret=secret or _names_a_secret(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(item, secret=secret) for item in value]
    return value


def _without_secrets(text: str) -> str:
    return _SECRET_TEXT.sub(lambda match: (match["bearer"] or match["scheme"] or "") + REDACTED, text)
