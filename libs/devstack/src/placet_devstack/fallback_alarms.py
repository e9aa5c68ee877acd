"""Prints the fallback monitor's alarms where the stack runs."""

from __future__ import annotations

import asyncio

from placet.approval.v1 import approval_service_pb2
from placet_cli.home import Home, Ports
from placet_cli.identity import OWNER, person
from placet_client import PlacetClient
from placet_devstack.process import StackEvent, Tell
from placet_rpc.errors import PlacetError

LOOK_EVERY = 10.0
ASKED_SECONDS = 3.0


async def tell_fallback_alarms(home: Home, ports: Ports, tell: Tell) -> None:
    """Tells when people begin not to respond, and when they respond again, for as long as it runs."""
    told: set[str] = set()
    async with PlacetClient.connect(ports.address("approval"), person(home, OWNER), patience=0) as client:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                found = await client.decision_stats()
            except PlacetError:
                # The supervisor reports a service that does not run.
                continue
            told = _tell_changes(found, told, tell)


def _tell_changes(
    found: approval_service_pb2.GetDecisionStatsResponse, told: set[str], tell: Tell
) -> set[str]:
    on = {one.policy: one for one in found.policies if one.HasField("alarm")}
    for policy in sorted(on.keys() - told):
        tell(StackEvent("approval", "ALARM", fallback_alarm(on[policy]), bad=True))
    for policy in sorted(told - on.keys()):
        tell(StackEvent("approval", "alarm over", f"people respond again: policy {policy}"))
    return set(on)


def fallback_alarm(one: approval_service_pb2.DecisionStats) -> str:
    """An alarm that is on, in words."""
    alarm = one.alarm.event
    return (
        f"people do not respond: policy {one.policy}, the fallback made {alarm.fallbacks} of "
        f"{alarm.decisions} decisions that people were asked for"
    )
