"""Paging of lists: the size of a page, and tokens that are good for one list only. Pure: no grpc, no pb2."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import TypeVar

from placet_rpc.errors import RPC_DOMAIN, FieldViolation, InvalidArgument

_T = TypeVar("_T")
_DIGEST_BYTES = 16


def capped(page_size: int, default: int, most: int) -> int:
    """The number of items on a page: `default` for 0, and never more than `most`."""
    return min(page_size or default, most)


def number(position: str) -> int:
    """Parses a position that is a row's number, from 0 to 2^63 - 1. Raises ValueError."""
    found = int(position)
    if not 0 <= found < 2**63:
        raise ValueError("no row has such a number")
    return found


class Listing:
    """One list: a method, a tenant and a filter. Page tokens of another list are refused.

    A token is a position and a digest of list and position, in base64url. The digest catches mistakes, not
    attacks: a token must grant nothing that its bearer could not list anyway.
    """

    def __init__(self, method: str, tenant: str, **filters: object) -> None:
        """`method`: the RPC's full name. `filters`: everything that changes which items are in the list, as
        values whose `repr` is the same for equal filters."""
        self._bound_to = repr((method, tenant, sorted(filters.items())))

    def token(self, position: str) -> str:
        """The token of the page at `position`, which is whatever the list's own code can parse."""
        return base64.urlsafe_b64encode(self._digest(position) + position.encode()).decode().rstrip("=")

    def position(self, token: str, parse: Callable[[str], _T]) -> _T:
        """The position that `token` stands for, as `parse` reads it.

        Raises InvalidArgument PAGE_TOKEN_INVALID, on field `page_token`, unless the token is of this list
        and `parse` accepts it (it raises ValueError or OverflowError otherwise).
        """
        try:
            packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            digest, position = packed[:_DIGEST_BYTES], packed[_DIGEST_BYTES:].decode()
            if digest != self._digest(position):
                raise ValueError("the token is of another list")
            return parse(position)
        except (ValueError, OverflowError) as error:
            description = "must come from an answer to the same method with the same filter"
            raise InvalidArgument(
                f"page_token {description}; begin again without one",
                violations=[FieldViolation("page_token", description)],
                reason="PAGE_TOKEN_INVALID",
                domain=RPC_DOMAIN,
            ) from error

    def _digest(self, position: str) -> bytes:
        return hashlib.sha256(repr((self._bound_to, position)).encode()).digest()[:_DIGEST_BYTES]
