"""Providers of assessments and decisions: built-in rules, and a language model where one is configured."""

from typing import Protocol

from placet_decision.domain import AiDecision, Assessment, Case, Mode


class Provider(Protocol):
    """Assesses cases and decides on them. Every method is safe to call concurrently.

    An unusable answer is an abstention, and so is content that cannot be read within its limits. Raises, of
    `placet_rpc.errors`: Unavailable with reason MODEL_UNAVAILABLE if a model gives no answer within `budget`
    seconds, and with TOKEN_BUDGET_SPENT for a tenant's spent budget; ResourceExhausted with TENANT_BUSY while
    too many calls of the tenant wait for their turn.
    """

    @property
    def name(self) -> str:
        """Its name in provenance: "embedded" or "openai"."""

    @property
    def deep_available(self) -> bool:
        """True if a deep assessment differs from a quick one."""

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """Assesses the risk. The answer's mode is the one that was used."""

    async def decide(self, case: Case, budget: float) -> AiDecision:
        """Approves, rejects or abstains in place of people who did not answer."""

    async def close(self) -> None:
        """Closes connections."""
