"""Visibility of requests: their own to requesters, what they were asked to approvers, all to some roles."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from placet_rpc.identity import Principal


@dataclass(frozen=True)
class Visibility:
    """A caller's visibility within its tenant: everything, or what `subject` requested or was asked."""

    tenant: str
    subject: str
    everything: bool

    def covers(self, requester: str, asked: Container[str]) -> bool:
        """Tells whether a request by `requester` that asks `asked` may be seen.

        Both are empty once the request is erased; an empty name matches no subject.
        """
        return self.everything or self.subject == requester or self.subject in asked


def visibility_of(principal: Principal) -> Visibility:
    """The caller's visibility, by subject and roles."""
    return Visibility(tenant=principal.tenant, subject=principal.subject, everything=principal.sees_all)
