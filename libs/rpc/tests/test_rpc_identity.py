"""Identity of a principal."""

from __future__ import annotations

import pytest

from placet_rpc.identity import Principal


@pytest.mark.parametrize(
    ("subject", "roles", "is_person"),
    [
        ("alice@example.com", ("requester", "approver"), True),
        ("billing", ("requester",), False),
        # A program's name may look like an address; its role does not.
        ("approval@cluster.example.com", ("service",), False),
        ("worker@example.com", ("worker", "requester"), False),
    ],
)
def test_a_person_has_an_address_and_no_programs_role(
    subject: str, roles: tuple[str, ...], is_person: bool
) -> None:
    assert Principal(subject, "default", frozenset(roles), "jwt:test").is_person is is_person
