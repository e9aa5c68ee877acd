"""Tokens of people on this machine, minted with the signing key of an embedded stack's home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placet_cli.problems import Problem

if TYPE_CHECKING:
    from placet_cli.home import Home
    from placet_rpc.tokens.mint import MintingTokenSource, SigningKey

TENANT = "default"

# The default identity, who runs the stack: requests, decides, reads everything and may cancel.
OWNER = "you@localhost"
OWNER_ROLES = frozenset({"requester", "approver", "auditor", "operator"})
PERSON_ROLES = frozenset({"requester", "approver"})


def signing_key(home: Home) -> SigningKey:
    """The home's signing key. Raises Problem when there is none, or it is not private."""
    # Imported late: the token library costs every command that needs none.
    from placet_rpc.tokens.mint import KeyFiles, SigningKey

    path = KeyFiles.below(home.keys).private_key
    try:
        return SigningKey.load(path)
    except FileNotFoundError as error:
        raise Problem(
            f"there is no Placet in {home.path}",
            "no stack was ever started there",
            tries=(
                "placet up",
                "set PLACET_APPROVAL_ADDRESS and PLACET_TOKEN_FILE  (a service elsewhere)",
            ),
        ) from error
    except (OSError, ValueError) as error:
        raise Problem(
            "the stack's signing key cannot be used", str(error), tries=("placet doctor",)
        ) from error


def person(home: Home, subject: str) -> MintingTokenSource:
    """Tokens of a person by e-mail address; the owner's hold all roles that people have. Raises Problem."""
    from placet_rpc.tokens.mint import MintingTokenSource

    roles = OWNER_ROLES if subject == OWNER else PERSON_ROLES
    return MintingTokenSource(signing_key(home), subject, TENANT, roles)
