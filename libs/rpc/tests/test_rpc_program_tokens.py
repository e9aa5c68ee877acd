"""Tokens of Placet's own programs: which program, and for which tenants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from placet_rpc.errors import Unauthenticated
from placet_rpc.tokens import ALGORITHM
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint, mint_for_program
from placet_rpc.tokens.verify import Verifier, decode, key_set

Own = tuple[KeyFiles, SigningKey]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """A signing key and its files."""
    files = generate_keys(tmp_path)
    return files, SigningKey.load(files.private_key)


def test_a_programs_token_names_the_program_and_its_tenants(own: Own) -> None:
    files, key = own
    verifier = Verifier(files.jwks)

    for given, tenants in ((), {"acme"}), (("acme", "globex"), {"acme", "globex"}), (("*",), {"*"}):
        principal = verifier.verify(mint_for_program(key, "worker-ml", "acme", 60, tenants=given))

        assert (principal.subject, principal.program) == ("worker-ml", "worker-ml")
        assert principal.tenant == "acme"
        assert principal.tenants == tenants
        assert principal.roles == {"program"}
        assert [principal.may_act_for(one) for one in ("acme", "initech")] == [True, "*" in tenants]


def test_a_program_is_one_by_its_tokens_role_and_not_by_its_name(own: Own) -> None:
    files, key = own

    caller = Verifier(files.jwks).verify(mint(key, "worker-default", "acme", ["requester"], 60))

    assert (caller.program, caller.tenants) == ("", frozenset())


@pytest.mark.parametrize(
    ("program", "tenant", "tenants"),
    [
        ("worker", "acme", ()),
        ("Approval", "acme", ()),
        ("audit", "acme", ()),
        ("unspecified", "acme", ()),
        ("approval", "*", ()),
        ("approval", "acme", ("*", "acme")),
        ("approval", "acme", ("a b",)),
    ],
)
def test_no_token_is_minted_of_another_program_or_for_what_is_no_tenant(
    own: Own, program: str, tenant: str, tenants: tuple[str, ...]
) -> None:
    _, key = own
    with pytest.raises(ValueError):
        mint_for_program(key, program, tenant, 60, tenants=tenants)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "worker"},
        {"sub": "audit"},
        {"sub": "alice@example.com"},
        {"roles": ["program", "operator"]},
        {"roles": ["operator", "program"]},
        {"roles": ["program", "program"]},
        {"tenants": None},
        {"tenants": []},
        {"tenants": "acme"},
        {"tenants": {"acme": True}},
        {"tenants": ["acme", "*"]},
        {"tenants": ["*", "*"]},
        {"tenants": [["acme"]]},
        {"tenants": [""]},
        {"tenants": ["a b"]},
    ],
    ids=str,
)
def test_a_programs_token_that_says_too_much_or_too_little_is_refused(
    own: Own, changes: dict[str, object]
) -> None:
    files, key = own
    claims = decode(
        mint_for_program(key, "approval", "acme", 60), key_set(json.loads(files.jwks.read_text()))
    )
    changed = {name: value for name, value in (claims | changes).items() if value is not None}
    signer = OKPKey.import_key(json.loads(files.private_key.read_text()))
    token = jwt.encode({"alg": ALGORITHM, "kid": key.kid}, changed, signer, algorithms=[ALGORITHM])

    with pytest.raises(Unauthenticated) as refused:
        Verifier(files.jwks).verify(token)
    assert refused.value.reason == "TOKEN_INVALID"
