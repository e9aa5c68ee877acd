"""Watcher of one log: periodic looks, cosignatures, alarms.

It looks three times in an interval, each time for a third of it at most. So it notices any change within an
interval, and one failed look raises no alarm. A timer, which each good look restarts, raises SILENCE.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from placet_proof import Checkpoint
from placet_telemetry import untraced
from placet_witness.domain import (
    Alarm,
    Answer,
    Kind,
    NoAnswer,
    Refused,
    Signed,
    Trust,
    check_growth,
    check_size,
    needs_proof,
    read,
)
from placet_witness.keys import Signer
from placet_witness.status import Status
from placet_witness.store import Folder

_LOG = logging.getLogger(__name__)

_LOOKS_IN_AN_INTERVAL = 3


class Log(Protocol):
    """Client of the log; `AuditLog` in production."""

    async def checkpoint(self) -> Answer:
        """Returns its newest checkpoint. Raises NoAnswer."""
        ...

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Returns the consistency proof from one size to another. Raises NoAnswer."""
        ...


class Witness:
    """Watches a log, from the last checkpoint in its folder on."""

    def __init__(
        self,
        log: Log,
        folder: Folder,
        signer: Signer,
        trust: Trust,
        *,
        interval: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`interval` in seconds; `clock` the wall clock. A trust that learns continues with the learned keys.

        Raises OSError, or ValueError if the folder holds something that this witness did not write.
        """
        self._log, self._folder, self._signer, self._trust = log, folder, signer, trust
        self._interval, self._clock = interval, clock
        self._note = ""
        self._last: Checkpoint | None = None
        kept = folder.checkpoint(signer.key)
        if kept is not None:
            self._note, self._last = kept
            if trust.learns:
                self._trust = replace(trust, keys=folder.keys(self._last.origin))
        before = folder.status()
        self._status = Status(
            interval,
            origin="" if self._last is None else self._last.origin,
            size=None if self._last is None else self._last.size,
            last_success=None if before is None else before.last_success,
            alarm=folder.alarm(),
        )
        self._heard = self._status.last_success or self._now()
        self._unanswered = "it was not asked yet"
        self._silence_timer: asyncio.TimerHandle | None = None
        folder.write_key(signer.key)
        folder.write_status(self._status)

    @property
    def status(self) -> Status:
        """Status as of now."""
        return self._status

    async def watch(self, looked: Callable[[], None] = lambda: None) -> None:
        """Looks periodically until it is cancelled; `looked` is called after each look.

        Raises OSError when the folder cannot be written to; `run_periodically` would go on then, and would
        add the time of a look to the pause.
        """
        loop = asyncio.get_running_loop()
        if self._is_final:
            self._log_alarm("found before")
        self._silence_timer = loop.call_later(self._interval, self._raise_silence)
        try:
            while True:
                next_look = loop.time() + self._interval / _LOOKS_IN_AN_INTERVAL
                await self.look()
                looked()
                await asyncio.sleep(next_look - loop.time())
        finally:
            self._silence_timer.cancel()

    async def look(self) -> None:
        """Asks the log once, and cosigns its checkpoint or raises an alarm. After ROLLBACK or FORK it does
        not ask, because no answer could end the alarm."""
        if self._is_final:
            return
        try:
            async with asyncio.timeout(self._interval / _LOOKS_IN_AN_INTERVAL):
                with untraced():
                    signed = await self._verified()
        except TimeoutError:
            self._unanswered = "it does not answer in time"
        except NoAnswer as error:
            self._unanswered = str(error)
        except Refused as refused:
            self._raise_alarm(refused.kind, refused.why, refused.evidence)
        else:
            self._cosign(signed)
        self._status = replace(self._status, last_look=self._now())
        self._folder.write_status(self._status)

    async def _verified(self) -> Signed:
        """Returns the log's newest checkpoint, verified. Raises NoAnswer or Refused."""
        answer = await self._log.checkpoint()
        signed = read(answer, self._trust, self._status.origin)
        check_size(self._last, signed)
        if self._last is not None and needs_proof(self._last, signed):
            proof = await self._log.consistency(self._last.size, signed.checkpoint.size)
            check_growth(self._last, signed, proof)
        return signed

    def _cosign(self, signed: Signed) -> None:
        self._folder.write_keys(signed)
        # The first cosignature of a checkpoint is kept: its time says since when the log had this state.
        if not self._note.startswith(signed.note):
            cosignature = self._signer.cosignature(signed.text, int(self._clock()))
            self._note = self._folder.write_checkpoint(signed, cosignature)
        self._last = signed.checkpoint
        self._trust = replace(self._trust, keys=signed.keys)
        self._heard = self._now()
        self._restart_timer()
        self._end_alarm()
        self._status = replace(
            self._status, origin=self._last.origin, size=self._last.size, last_success=self._heard
        )

    def _restart_timer(self) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = asyncio.get_running_loop().call_later(self._interval, self._raise_silence)

    def _raise_silence(self) -> None:
        self._raise_alarm(Kind.SILENCE, self._unanswered)
        self._folder.write_status(self._status)

    def _raise_alarm(self, kind: Kind, why: str, evidence: Signed | None = None) -> None:
        """Raises an alarm, unless one of the same or a higher gravity is on."""
        before = self._status.alarm
        if before is not None and before.kind.gravity >= kind.gravity:
            return
        self._end_alarm()
        alarm = Alarm(kind, self._heard if kind is Kind.SILENCE else self._now(), why)
        self._status = replace(self._status, alarm=alarm)
        try:
            if kind.final and evidence is not None:
                self._folder.write_alarm(alarm, evidence)
        finally:
            self._log_alarm("begins")

    def _log_alarm(self, what: str) -> None:
        alarm = self._status.alarm
        if alarm is not None:
            since = alarm.since.isoformat(timespec="seconds")
            fields = {"origin": self._status.origin, "since": since}
            _LOG.error("%s %s: %s", alarm.kind, what, alarm.why, extra=fields)

    def _end_alarm(self) -> None:
        """Ends the current alarm, if any."""
        alarm = self._status.alarm
        if alarm is not None:
            self._status = replace(self._status, alarm=None)
            _LOG.info("%s ends", alarm.kind, extra={"origin": self._status.origin})

    @property
    def _is_final(self) -> bool:
        return self._status.alarm is not None and self._status.alarm.kind.final

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
