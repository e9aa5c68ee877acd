"""ApprovalService as a process: accepts requests and commands, and serves their state."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.notifications import Notifications
from placet_approval.adapters.temporal import Workflows
from placet_approval.commands.handler import CommandHandler
from placet_approval.config import Settings
from placet_approval.consumer_monitor import CHECK_SECONDS, ConsumerMonitor
from placet_approval.consumer_queries import ConsumerQueries
from placet_approval.erasure import Eraser
from placet_approval.fallback_monitor import FallbackMonitor
from placet_approval.intake.facts import FactKinds
from placet_approval.intake.service import Intake
from placet_approval.intake.workflow_start import WorkflowStarter
from placet_approval.policy_queries import PolicyQueries
from placet_approval.projection.projections import Projection, Projections
from placet_approval.queries import Queries
from placet_approval.recovery.commands import CommandRecovery
from placet_approval.recovery.intake import IntakeRecovery
from placet_approval.recovery.workflows import WorkflowRecovery
from placet_approval.servicer import ApprovalServicer
from placet_approval.stats_queries import StatsQueries
from placet_approval.store.decision_stats import MONITOR, DecisionStatsStore
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.tables import LOG
from placet_approval.store.view import VIEW, ViewStore
from placet_domain.policy_files import load
from placet_logtail import Consumers, LeaseStore, LogTailer, SkippedEntries
from placet_rpc.access_refusals import RefusalRecorder
from placet_rpc.client import channel
from placet_rpc.server import Endpoint
from placet_rpc.service import Service, run_service
from placet_rpc.tasks import periodically
from placet_rpc.tokens.sources import FileTokenSource
from placet_storage import Database, DatabaseUnavailable, MigrationFailed
from placet_telemetry import setup
from placet_temporal import TemporalSettings, connect


@asynccontextmanager
async def assembled(settings: Settings, workflows: Workflows) -> AsyncIterator[Service]:
    """Assembles and starts the service, without a server."""
    attester, keys = settings.attester(), settings.attestation_keys()
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url, migrations="placet_approval")
        stack.push_async_callback(database.close)
        tokens = FileTokenSource(settings.token_file)
        audit, notification = [
            await stack.enter_async_context(channel(address, tokens, tls=settings.tls()))
            for address in (settings.audit_address, settings.notification_address)
        ]
        log, notifications = (
            AuditLog(AuditServiceStub(audit), keys),
            Notifications(NotificationServiceStub(notification)),
        )
        requests, views = RequestStore(database), ViewStore(database)
        pending = PendingCommands(database, attester.attested)
        policies = PolicyStore(database, load(settings.policy_folder))
        kinds = FactKinds.load(settings.policy_folder)
        await policies.record_current()
        consumers = Consumers(LeaseStore(database, LOG), holder=settings.replica)
        stack.push_async_callback(consumers.close)
        stats = DecisionStatsStore(database)

        def monitor(tenant: str, projection: Projection) -> None:
            decisions = FallbackMonitor(
                tenant, projection, stats, log, notifications, settings.alarm(), settings.sign_of_life
            )
            consumers.add(LogTailer(MONITOR, tenant, decisions, decisions))

        projections = Projections(log, views, requests, policies, consumers, monitor)
        skipped = SkippedEntries(database, LOG)
        consumer_monitor = ConsumerMonitor(consumers, skipped, notifications, settings.alarm().recipients)
        for tenant in await requests.tenants():
            projections.of(tenant)
        starter = WorkflowStarter(workflows, pending, policies, keys)
        intake = Intake(requests, views, projections, log, starter, policies, kinds, settings.clock_scale)
        recovery_age = timedelta(seconds=settings.recovery_age)
        intake_recovery = IntakeRecovery(requests, intake, recovery_age)
        workflow_recovery = WorkflowRecovery(requests, pending, log, workflows, starter, recovery_age)
        command_recovery = CommandRecovery(pending, log, workflows, workflow_recovery, recovery_age)
        servicer = ApprovalServicer(
            intake,
            CommandHandler(pending, policies, views, projections, log, workflows, workflow_recovery),
            Queries(requests, pending, policies, views, projections, log, settings.sign_of_life),
            PolicyQueries(policies),
            StatsQueries(stats, settings.alarm()),
            ConsumerQueries(consumers, skipped, requests),
            Eraser(requests, projections, log),
            await_limit=settings.await_limit,
            command_budget=settings.command_budget,
        )
        endpoint = Endpoint(
            approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
            approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server,
            servicer,
        )
        refusals = RefusalRecorder(
            log.append_for_tenant, program="approval", per_minute=settings.refusals_per_minute
        )
        for run, interval, waits in (
            (intake_recovery.run, settings.intake_recovery_interval, "interrupted requests wait on"),
            (
                workflow_recovery.run,
                settings.workflow_recovery_interval,
                "requests without a workflow wait on",
            ),
            (command_recovery.run, settings.workflow_recovery_interval, "overdue commands wait on"),
            (consumer_monitor.run, CHECK_SECONDS, "operators are told later"),
        ):
            await stack.enter_async_context(periodically(run, interval, waits))
        yield Service(
            endpoint,
            refusals.record,
            until_ready=projections.all_caught_up,
            parts={name: partial(consumer_monitor.follows, name) for name in (VIEW, MONITOR)},
        )


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Service]:
    """`assembled` with a client of Temporal."""
    workflows = Workflows(await connect(TemporalSettings(), "approval", lazy=True))
    async with assembled(settings, workflows) as service:
        yield service


def main() -> int:
    """The exit status; see `run_service`."""
    return run_service(
        "ApprovalService",
        Settings,
        connected,
        telemetry=partial(setup, "approval"),
        about=__doc__,
        also=(TemporalSettings,),
        explained=(DatabaseUnavailable, MigrationFailed),
    )


if __name__ == "__main__":
    sys.exit(main())
