"""Tokens of language models: counted for each call, and bounded for each tenant and day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from opentelemetry import metrics, trace

from placet_decision.domain import Account, Usage
from placet_rpc.errors import Unavailable

# Name, unit and buckets by OpenTelemetry's GenAI conventions.
_USAGE = metrics.get_meter("placet.decision").create_histogram(
    "gen_ai.client.token.usage",
    unit="{token}",
    description="Tokens of one call of a model.",
    explicit_bucket_boundaries_advisory=[4.0**power for power in range(14)],
)


class TokenStore(Protocol):
    """The tokens of each tenant and day."""

    async def spent_tokens(self, tenant: str, day: date) -> int:
        """Tokens that were spent on this day."""

    async def spend_tokens(self, tenant: str, day: date, tokens: int) -> None:
        """Adds to the tokens of this day."""


class TokenBudget:
    """Counts tokens, and refuses calls of tenants that have spent theirs. A day is one of UTC.

    Calls under way are not reserved for, so a tenant may exceed its budget by what they take.
    """

    def __init__(
        self,
        store: TokenStore,
        daily: int | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`daily`: tokens for each tenant and day; None: no bound, and nothing is stored."""
        self._store = store
        self._daily = daily
        self._now = now

    async def check(self, account: Account) -> None:
        """Raises Unavailable with reason TOKEN_BUDGET_SPENT when the tenant has no tokens left today."""
        if self._daily is None:
            return
        today = self._now().date()
        if await self._store.spent_tokens(account.tenant, today) >= self._daily:
            tomorrow = f"{today + timedelta(days=1)}T00:00:00Z"
            raise Unavailable(
                f"the tenant's {self._daily} tokens of this day are spent; the model is asked again from "
                f"{tomorrow}, or with a larger PLACET_OPENAI_DAILY_TOKENS",
                reason="TOKEN_BUDGET_SPENT",
                metadata={"tenant": account.tenant, "available_from": tomorrow},
            )

    async def charge(self, account: Account, model: str, usage: Usage) -> None:
        """Counts the tokens of one call: in metrics by tenant and policy, in the current span by request."""
        common = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "placet.tenant": account.tenant,
            "placet.policy": account.policy,
        }
        for kind, tokens in (("input", usage.prompt), ("output", usage.answer)):
            _USAGE.record(tokens, {**common, "gen_ai.token.type": kind})
        trace.get_current_span().set_attributes(
            {
                "gen_ai.usage.input_tokens": usage.prompt,
                "gen_ai.usage.output_tokens": usage.answer,
                "placet.tenant": account.tenant,
                "placet.policy": account.policy,
                "placet.approval_id": account.approval_id,
            }
        )
        if self._daily is not None:
            await self._store.spend_tokens(account.tenant, self._now().date(), usage.total)
