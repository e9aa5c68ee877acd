"""Reports alarms of the audit log's witness as events of the stack."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from placet_cli.home import Home
from placet_devstack.plan import WITNESS
from placet_devstack.process import StackEvent, Tell
from placet_witness.domain import Alarm
from placet_witness.status import read_status

LOOK_EVERY = 1.0


async def tell_alarms(home: Home, tell: Tell) -> None:
    """Tells when the witness begins to alarm, and when it ceases, for as long as it runs."""
    begun, told = datetime.now(UTC), None
    while True:
        alarm = _alarm(home, begun)
        if alarm is not None and alarm != told:
            tell(StackEvent(WITNESS, "ALARM", f"{alarm.kind}: {alarm.why}", bad=True))
        elif told is not None and alarm is None:
            tell(StackEvent(WITNESS, "alarm over", told.kind))
        told = alarm
        await asyncio.sleep(LOOK_EVERY)


def _alarm(home: Home, begun: datetime) -> Alarm | None:
    """The alarm that is on; not one of a stack that ran before, unless it is one for good."""
    status = read_status(home.witness)
    if status is None or status.alarm is None:
        return None
    fresh = status.last_look is not None and status.last_look >= begun
    return status.alarm if fresh or status.alarm.kind.final else None
