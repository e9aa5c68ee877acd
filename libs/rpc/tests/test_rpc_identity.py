"""Identity of a principal."""

from __future__ import annotations

import pytest

from placet_rpc.identity import PROGRAMS, Principal


@pytest.mark.parametrize(
    ("subject", "roles", "is_person"),
    [
        ("alice@example.com", ("requester", "approver"), True),
        ("billing", ("requester",), False),
        ("worker-default", ("program",), False),
    ],
)
def test_a_person_has_an_address_and_is_no_program(
    subject: str, roles: tuple[str, ...], is_person: bool
) -> None:
    assert Principal(subject, "default", frozenset(roles), "jwt:test").is_person is is_person


def test_each_program_has_idempotency_keys_of_its_own() -> None:
    programs = [
        Principal(program, "default", frozenset({"program"}), "jwt:test") for program in sorted(PROGRAMS)
    ]
    assert len(PROGRAMS) == 7
    keys = ("fallback", "default/fallback", "1/outcome")
    assert len({one.own_key(key) for one in programs for key in keys}) == len(PROGRAMS) * len(keys)
    assert not [program for program in PROGRAMS if "/" in program]
