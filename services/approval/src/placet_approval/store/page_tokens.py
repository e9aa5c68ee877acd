"""Where a page of requests ended, as an opaque text."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import UTC, datetime

from placet_rpc.errors import FieldViolation, InvalidArgument


def page_token(create_time: datetime, approval_id: str) -> str:
    """The token of the page after this request."""
    return base64.urlsafe_b64encode(f"{create_time.isoformat()}|{approval_id}".encode()).decode()


def read_token(token: str) -> tuple[datetime, str]:
    """Where it says that the last page ended. Raises InvalidArgument."""
    try:
        written, approval_id = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        create_time = datetime.fromisoformat(written).astimezone(UTC)
        uuid.UUID(approval_id)
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        violation = FieldViolation("page_token", "was not given by this service")
        raise InvalidArgument("page_token was not given by this service", violations=[violation]) from error
    return create_time, approval_id
