"""DecisionService as a process: assesses risks and decides, with a model or by rules."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from placet.approval.v1 import approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2_grpc
from placet.decision.v1 import decision_service_pb2, decision_service_pb2_grpc
from placet_decision.api_key import ApiKeyFile
from placet_decision.config import Settings
from placet_decision.idempotency import IdempotentAnswers
from placet_decision.providers import Provider
from placet_decision.servicer import DecisionServicer
from placet_decision.store import Store
from placet_decision.token_budget import TokenBudget, TokenStore
from placet_rpc.access_refusals import RefusalRecorder, appending_to
from placet_rpc.client import channel
from placet_rpc.server import Endpoint
from placet_rpc.service import Service, run_service
from placet_rpc.tasks import periodically
from placet_rpc.tokens.sources import FileTokenSource
from placet_storage import PURGE_SECONDS, Database, DatabaseUnavailable, MigrationFailed, purge_expired
from placet_telemetry import setup

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Service]:
    """Assembles the service. At the end connections close, and the database closes last."""
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url, migrations="placet_decision")
        stack.push_async_callback(database.close)
        store = Store(database)
        provider = provider_of(settings, store)
        stack.push_async_callback(provider.close)
        _LOG.info("risks and decisions come from provider %s", provider.name)
        purge = partial(purge_expired, store.purge, timedelta(days=settings.keep_days))
        await stack.enter_async_context(periodically(purge, PURGE_SECONDS, "deleting old rows waits on"))
        tokens = FileTokenSource(settings.token_file)
        approval, audit = [
            await stack.enter_async_context(channel(address, tokens, tls=settings.tls()))
            for address in (settings.approval_address, settings.audit_address)
        ]
        approvals = approval_service_pb2_grpc.ApprovalServiceStub(approval)
        append = appending_to(audit_service_pb2_grpc.AuditServiceStub(audit))
        refusals = RefusalRecorder(append, program="decision", per_minute=settings.refusals_per_minute)
        endpoint = Endpoint(
            decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"],
            decision_service_pb2_grpc.add_DecisionServiceServicer_to_server,
            DecisionServicer(IdempotentAnswers(store), approvals, provider),
        )
        yield Service(endpoint, refusals.record)


def provider_of(settings: Settings, store: TokenStore) -> Provider:
    """The configured provider; `store` keeps spent tokens. The openai SDK is imported only where used."""
    if settings.chosen_provider == "embedded":
        return Provider()
    from placet_decision.providers.llm_scorer import LlmScorer
    from placet_decision.providers.throttle import Throttle

    scorer = LlmScorer(
        api_key=api_key_of(settings),
        base_url=settings.openai_base_url,
        model=settings.openai_model,
        timeout=settings.openai_timeout,
        max_input_characters=settings.openai_max_input_characters,
        max_output_tokens=settings.openai_max_output_tokens,
        throttle=Throttle(settings.openai_calls_per_minute),
        tokens=TokenBudget(store, settings.openai_daily_tokens),
    )
    return Provider(scorer)


def api_key_of(settings: Settings) -> Callable[[], str]:
    """Returns a source of the key. Raises OSError or ValueError for a file without a key."""
    if settings.openai_api_key_file is not None:
        return ApiKeyFile(settings.openai_api_key_file)
    # The SDK requires a key; self-hosted servers mostly ignore it.
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else "none"
    return lambda: key


def main() -> int:
    """The exit status; see `run_service`."""
    return run_service(
        "DecisionService",
        Settings,
        assembled,
        telemetry=partial(setup, "decision"),
        about=__doc__,
        explained=(DatabaseUnavailable, MigrationFailed),
    )


if __name__ == "__main__":
    sys.exit(main())
