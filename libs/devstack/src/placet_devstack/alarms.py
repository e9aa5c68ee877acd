"""Reports alarms of the log's witness and of the fallback monitor, and switches, as events of the stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from placet.approval.v1 import approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_cli.formatting import switched_off_sentence
from placet_cli.home import Home, Ports
from placet_cli.identity import OWNER, person
from placet_client import PlacetClient
from placet_devstack.child import Report, StackEvent
from placet_devstack.plan import WITNESS
from placet_rpc.client import channel
from placet_rpc.errors import PlacetError
from placet_rpc.tasks import periodically
from placet_witness.domain import Alarm
from placet_witness.status import read_status

WITNESS_SECONDS = 1.0
FALLBACK_SECONDS = 10.0
SWITCH_SECONDS = 2.0
ASKED_SECONDS = 3.0


@asynccontextmanager
async def reported_alarms(home: Home, ports: Ports, report: Report) -> AsyncIterator[None]:
    """Reports each alarm that begins or ends while its block runs."""
    async with (
        PlacetClient.connect(ports.address("approval"), person(home, OWNER), patience=0) as client,
        audit_as_operator(home, ports.address("audit")) as audit,
        periodically(WitnessAlarms(home, report).check, WITNESS_SECONDS, "the witness's alarms are not read"),
        periodically(FallbackAlarms(client, report).check, FALLBACK_SECONDS, "fallback alarms are not read"),
        periodically(AutomationSwitches(audit, report).check, SWITCH_SECONDS, "switches are not read"),
    ):
        yield


class WitnessAlarms:
    """Alarms of the witness about the log."""

    def __init__(self, home: Home, report: Report) -> None:
        self._home = home
        self._report = report
        self._begun = datetime.now(UTC)
        self._reported: Alarm | None = None

    async def check(self) -> None:
        """Reports what changed since the last check."""
        alarm, before = self._alarm(), self._reported
        if alarm is not None and alarm != before:
            self._report(StackEvent(WITNESS, "ALARM", f"{alarm.kind}: {alarm.why}", bad=True))
        elif before is not None and alarm is None:
            self._report(StackEvent(WITNESS, "alarm over", before.kind))
        self._reported = alarm

    def _alarm(self) -> Alarm | None:
        """The alarm that is on; one of an earlier stack counts only if it is final."""
        status = read_status(self._home.witness)
        if status is None or status.alarm is None:
            return None
        fresh = status.last_look is not None and status.last_look >= self._begun
        return status.alarm if fresh or status.alarm.kind.final else None


class FallbackAlarms:
    """Alarms of the fallback monitor: people do not respond."""

    def __init__(self, client: PlacetClient, report: Report) -> None:
        self._client = client
        self._report = report
        self._reported: set[str] = set()

    async def check(self) -> None:
        """Reports what changed since the last check; nothing while ApprovalService does not answer."""
        try:
            stats = await self._client.decision_stats()
        except PlacetError:
            # The supervisor reports a service that does not run.
            return
        on = {one.policy: one for one in stats.policies if one.HasField("alarm")}
        for policy in sorted(on.keys() - self._reported):
            self._report(StackEvent("approval", "ALARM", fallback_alarm(on[policy]), bad=True))
        for policy in sorted(self._reported - on.keys()):
            self._report(StackEvent("approval", "alarm over", f"people respond again: policy {policy}"))
        self._reported = set(on)


class AutomationSwitches:
    """Automatic decisions that an operator switched off."""

    def __init__(self, audit: AuditServiceStub, report: Report) -> None:
        self._audit = audit
        self._report = report
        self._reported: dict[int, str] = {}

    async def check(self) -> None:
        """Reports what changed since the last check; nothing while AuditService does not answer."""
        try:
            off = await switched_off(self._audit)
        except PlacetError:
            return
        found = {one.index: switched_off_sentence(one) for one in off}
        for index in sorted(found.keys() - self._reported.keys()):
            self._report(StackEvent("audit", "SWITCHED OFF", found[index], bad=True))
        for index in sorted(self._reported.keys() - found.keys()):
            self._report(StackEvent("audit", "on again", f"no more: {self._reported[index]}"))
        self._reported = found


@asynccontextmanager
async def audit_as_operator(home: Home, address: str) -> AsyncIterator[AuditServiceStub]:
    """AuditService as the stack's owner calls it. Raises Problem."""
    async with channel(address, person(home, OWNER), default_timeout=ASKED_SECONDS) as opened:
        yield AuditServiceStub(opened)


async def switched_off(audit: AuditServiceStub) -> Sequence[event_pb2.LogEntry]:
    """The entries by which automatic decisions are switched off. Raises PlacetError."""
    return (await audit.GetAutomation(audit_service_pb2.GetAutomationRequest())).off


def fallback_alarm(stats: approval_service_pb2.DecisionStats) -> str:
    """A sentence about a policy's alarm that is on."""
    alarm = stats.alarm.event
    return (
        f"people do not respond: policy {stats.policy}, the fallback made {alarm.fallbacks} of "
        f"{alarm.decisions} decisions that people were asked for"
    )
