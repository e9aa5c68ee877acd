"""Who may see a request: requesters their own, approvers what they were asked, some roles everything."""

from __future__ import annotations

from dataclasses import dataclass

from placet_rpc.identity import Principal


@dataclass(frozen=True)
class Visibility:
    """What a caller may see within its tenant: everything, or what `subject` asked for or was asked."""

    tenant: str
    subject: str
    everything: bool

    def covers(self, requester: str, asked: frozenset[str]) -> bool:
        """Whether a request by `requester`, put to `asked`, may be seen. Both are empty once erased: that
        is nobody's subject."""
        return self.everything or self.subject == requester or self.subject in asked


def visibility_of(principal: Principal) -> Visibility:
    """What this caller may see."""
    return Visibility(tenant=principal.tenant, subject=principal.subject, everything=principal.sees_all)
