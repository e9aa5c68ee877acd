"""Who can judge a case: the rules that are always there, and a language model where one is configured."""

from typing import Protocol

from placet_decision.domain import AiDecision, Assessment, Case, Mode


class Provider(Protocol):
    """Judges cases. Every method is safe to call concurrently.

    An unusable answer is an abstention. A model that cannot be reached within `budget` seconds raises
    `placet_rpc.errors.Unavailable` with reason MODEL_UNAVAILABLE.
    """

    @property
    def name(self) -> str:
        """How provenance names it: "embedded" or "openai"."""

    @property
    def deep_available(self) -> bool:
        """Whether a deep assessment would differ from a quick one."""

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """How risky is it? The answer's mode says how it was really done."""

    async def decide(self, case: Case, budget: float) -> AiDecision:
        """Approve, reject or abstain, in the stead of people who were silent."""

    async def close(self) -> None:
        """Lets go of connections."""
