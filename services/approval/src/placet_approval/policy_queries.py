"""Queries of policies, so that people can read the policy under which they decide."""

from __future__ import annotations

from placet.approval.v1 import approval_pb2
from placet_approval.store.policies import PolicyStore, StoredPolicy
from placet_domain.policy_description import describe_caps, describe_steps
from placet_rpc.errors import NotFound
from placet_rpc.paging import Listing, number

_LIST_POLICIES = "placet.approval.v1.ApprovalService/ListPolicies"


class PolicyQueries:
    """Answers ListPolicies and GetPolicy."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    async def page(self, all_versions: bool, size: int, token: str) -> tuple[list[approval_pb2.Policy], str]:
        """One page of policies without their bodies, and the token of the next. Raises InvalidArgument."""
        if all_versions:
            found = await self._policies.all_versions()
        else:
            found = [one for _, one in sorted(self._policies.current.items())]
        listing = Listing(_LIST_POLICIES, "", all_versions=all_versions)
        start = listing.position(token, number) if token else 0
        following = listing.token(str(start + size)) if start + size < len(found) else ""
        return [_policy(one) for one in found[start : start + size]], following

    async def get(self, name: str, version: int, digest: bytes) -> approval_pb2.Policy:
        """A policy with its body, by digest if one is given, else by name.

        Raises NotFound (UNKNOWN_POLICY).
        """
        found = await (self._policies.by_digest(digest) if digest else self._policies.by_name(name, version))
        if found is None:
            which = (
                f"with digest {digest.hex()}"
                if digest
                else f"{name!r}" + (f" of version {version}" if version else "")
            )
            raise NotFound(
                f"there is no policy {which}",
                reason="UNKNOWN_POLICY",
                metadata={"policy_digest": digest.hex()} if digest else {"policy": name},
            )
        policy = _policy(found)
        policy.body = found.body.decode()
        return policy


def _policy(stored: StoredPolicy) -> approval_pb2.Policy:
    return approval_pb2.Policy(
        name=stored.policy.name,
        version=stored.policy.version,
        policy_digest=stored.digest,
        description=stored.policy.description,
        steps=describe_steps(stored.policy),
        caps=describe_caps(stored.policy),
        slots=stored.policy.slots,
        is_current=stored.is_current,
    )
