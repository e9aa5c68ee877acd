"""Pages: a size that is capped, and tokens that are good for one list only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.errors import InvalidArgument
from placet_rpc.paging import Listing, capped, number

METHOD = "placet.audit.v1.AuditService/ListEvents"


def test_a_page_size_is_capped_and_never_refused() -> None:
    assert [capped(size, 50, 500) for size in (0, 1, 500, 501, 2**32 - 1)] == [50, 1, 500, 500, 500]


@given(st.text(max_size=10), st.text(max_size=36), st.integers(0, 2**63 - 1))
def test_a_page_token_leads_back_to_its_position(tenant: str, approval_id: str, index: int) -> None:
    listing = Listing(METHOD, tenant, approval_id=approval_id)
    token = listing.token(str(index))

    assert Listing(METHOD, tenant, approval_id=approval_id).position(token, number) == index
    assert len(token) <= 100


@pytest.mark.parametrize(
    "other",
    [
        Listing(METHOD, "blue", approval_id="r1"),
        Listing(METHOD, "red", approval_id="r2"),
        Listing(METHOD, "red", approval_id=""),
        Listing(METHOD, "red"),
        Listing("placet.notification.v1.NotificationService/ListDeliveries", "red", approval_id="r1"),
    ],
)
def test_a_page_token_is_good_for_its_method_tenant_and_filter_only(other: Listing) -> None:
    token = Listing(METHOD, "red", approval_id="r1").token("5")

    with pytest.raises(InvalidArgument) as refusal:
        other.position(token, number)

    assert refusal.value.reason == "PAGE_TOKEN_INVALID"
    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


@given(st.text(max_size=200))
def test_anything_else_is_no_page_token(token: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Listing(METHOD, "red").position(token, str)

    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


@pytest.mark.parametrize("position", ["", "x", "-1", str(2**63), "9" * 200])
def test_a_position_that_no_row_has_is_refused(position: str) -> None:
    listing = Listing(METHOD, "red")

    with pytest.raises(InvalidArgument):
        listing.position(listing.token(position), number)
