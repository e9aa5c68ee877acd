"""Commands: the one way in which a person or service does something to a request."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from placet_domain.events import Actor, ActorKind, Dto, Verdict

# What an event can hold of a command (the audit contract's bounds). One that exceeds them could be judged
# but never logged, and would hold its request for ever; so it counts as one that cannot be read.
_CauseId = Annotated[str, Field(min_length=1, max_length=100)]
_Traceparent = Annotated[str, Field(max_length=55)]
_Reason = Annotated[str, Field(max_length=4000)]
_Rendering = Annotated[str, Field(max_length=50)]
_SENDERS = (ActorKind.PERSON, ActorKind.SERVICE)


class Command(Dto):
    """Something that somebody wants done to a request, with the id by which it is known for ever.

    `operator` is the door's word that the sender may act as an operator, `rendering_in_force` its word on how
    the content was shown when the command came; the sender's identity was authenticated there too.
    """

    type: Literal["decision", "cancel"]
    id: _CauseId
    actor: Actor
    # W3C trace context of the call that brought it.
    traceparent: _Traceparent = ""
    verdict: Verdict = Verdict.UNSPECIFIED
    # Hex of the SHA-256 of the content that the sender was shown.
    content_digest: str = ""
    # Hex of the SHA-256 of the policy that the sender decided under. Empty: they named none.
    policy_digest: str = ""
    # How the content was shown to the sender. Empty: they named nothing.
    rendering: _Rendering = ""
    # Not a constant of this package: a history must replay whatever is in force by then.
    rendering_in_force: _Rendering = ""
    reason: _Reason = ""
    operator: bool = False

    @model_validator(mode="after")
    def _says_who_wants_what(self) -> Command:
        if self.actor.kind not in _SENDERS or not 0 < len(self.actor.name) <= 254:
            raise ValueError("a command comes from a person or a service, by name")
        if len(self.actor.authenticated_by) > 200:
            raise ValueError("authenticated_by has at most 200 characters")
        if self.type == "decision" and self.verdict is Verdict.UNSPECIFIED:
            raise ValueError("a decision approves or rejects")
        return self

    def digest(self) -> str:
        """SHA-256, in hex, of what was commanded and by whom: one id with two digests is a conflict.

        How the sender was authenticated, in which trace, and what the door added is left out: a retry may
        differ there.
        """
        parts = [
            self.type,
            self.id,
            self.actor.name,
            self.verdict,
            self.content_digest,
            self.reason,
            self.policy_digest,
            self.rendering,
        ]
        digest = hashlib.sha256()
        for part in parts:
            value = part.encode()
            digest.update(len(value).to_bytes(8, "big") + value)
        return digest.hexdigest()
