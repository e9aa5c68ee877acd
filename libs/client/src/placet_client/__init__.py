"""The SDK that callers use.

async with PlacetClient.connect("127.0.0.1:7400", ".placet/tokens/caller") as client:
    approval = await client.request_approval(
        title="Release payment 4711", content="EUR 950 to …", policy="simple",
        required_approver="alice@example.com",
    )
    outcome = await approval.outcome(timeout=3600)
"""

from placet_client.approvals import PendingApproval, StillPending
from placet_client.client import PlacetClient
from placet_client.outcome import Outcome
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PlacetError,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "AlreadyExists",
    "FailedPrecondition",
    "FieldViolation",
    "InvalidArgument",
    "NotFound",
    "Outcome",
    "PendingApproval",
    "PermissionDenied",
    "PlacetClient",
    "PlacetError",
    "StillPending",
    "Unauthenticated",
    "Unavailable",
]
