"""Commands: the one way in which a person or service does something to a request."""

from __future__ import annotations

import hashlib
from typing import Literal

from placet_workflows.events import Actor, Dto, Verdict


class Command(Dto):
    """Something that somebody wants done to a request, with the id by which it is known for ever.

    `operator` is the door's word that the sender may act as an operator; the sender's identity was
    authenticated there too.
    """

    type: Literal["decision", "cancel"]
    id: str
    actor: Actor
    # W3C trace context of the call that brought it.
    traceparent: str = ""
    verdict: Verdict = Verdict.UNSPECIFIED
    # Hex of the SHA-256 of the content that the sender was shown.
    content_digest: str = ""
    reason: str = ""
    operator: bool = False

    def digest(self) -> str:
        """SHA-256, in hex, of what was commanded and by whom: one id with two digests is a conflict.

        How the sender was authenticated and in which trace is left out: a retry may differ there.
        """
        parts = (self.type, self.id, self.actor.name, self.verdict, self.content_digest, self.reason)
        digest = hashlib.sha256()
        for part in parts:
            value = part.encode()
            digest.update(len(value).to_bytes(8, "big") + value)
        return digest.hexdigest()
