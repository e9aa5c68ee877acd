"""The watch over one log: looks in time, what is kept of them, and alarms.

It looks three times in an interval, each look for a third of one at most: so whatever happens to the log is
seen within an interval, and one look that fails is no alarm yet. That nothing was heard for an interval is
noticed by a timer, which every good look winds up again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from placet_proof import Checkpoint
from placet_telemetry import log, untraced
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

_LOG = log(__name__)

_LOOKS_IN_AN_INTERVAL = 3


class Log(Protocol):
    """The log that is watched."""

    async def checkpoint(self) -> Answer:
        """Its newest checkpoint. Raises NoAnswer."""
        ...

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Its consistency proof from a size to another. Raises NoAnswer."""
        ...


class Witness:
    """Watches a log from where its folder says that it stood."""

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
        """`interval` in seconds; `clock` the wall clock. A trust that learns goes on with what it learned.

        Raises OSError, or ValueError if the folder holds something that this witness did not write.
        """
        self._log, self._folder, self._signer, self._trust = log, folder, signer, trust
        self._interval, self._clock = interval, clock
        self._note = ""
        self._last: Checkpoint | None = None
        kept = folder.kept(signer.key)
        if kept is not None:
            self._note, self._last = kept
            if trust.learns:
                self._trust = replace(trust, keys=folder.keys(self._last.origin))
        said = folder.said()
        self._status = Status(
            interval,
            origin="" if self._last is None else self._last.origin,
            size=None if self._last is None else self._last.size,
            succeeded=None if said is None else said.succeeded,
            alarm=folder.accusation(),
        )
        self._heard = self._status.succeeded or self._now()
        self._unanswered = "it was not asked yet"
        self._silence: asyncio.TimerHandle | None = None
        folder.introduce(signer.key)
        folder.say(self._status)

    @property
    def status(self) -> Status:
        """How it stands."""
        return self._status

    async def watch(self, looked: Callable[[], None] = lambda: None) -> None:
        """Looks again and again until it is cancelled; `looked` is called after each look.

        Raises OSError when the folder cannot be written to: what cannot be kept is not witnessed.
        """
        loop = asyncio.get_running_loop()
        if self._over:
            self._cry("found before")
        self._silence = loop.call_later(self._interval, self._fall_silent)
        try:
            while True:
                next_look = loop.time() + self._interval / _LOOKS_IN_AN_INTERVAL
                await self.look()
                looked()
                await asyncio.sleep(next_look - loop.time())
        finally:
            self._silence.cancel()

    async def look(self) -> None:
        """Asks the log once, and keeps what it signed or raises an alarm. After ROLLBACK or FORK it asks no
        more, because no answer could mend it."""
        if self._over:
            return
        try:
            async with asyncio.timeout(self._interval / _LOOKS_IN_AN_INTERVAL):
                with untraced():
                    signed = await self._shown()
        except TimeoutError:
            self._unanswered = "it does not answer in time"
        except NoAnswer as error:
            self._unanswered = str(error)
        except Refused as refused:
            self._alarm(refused.kind, refused.why, refused.evidence)
        else:
            self._keep(signed)
        self._status = replace(self._status, looked=self._now())
        self._folder.say(self._status)

    async def _shown(self) -> Signed:
        """What the log shows, verified. Raises NoAnswer or Refused."""
        answer = await self._log.checkpoint()
        signed = read(answer, self._trust, self._status.origin)
        check_size(self._last, signed)
        if self._last is not None and needs_proof(self._last, signed):
            proof = await self._log.consistency(self._last.size, signed.checkpoint.size)
            check_growth(self._last, signed, proof)
        return signed

    def _keep(self, signed: Signed) -> None:
        self._folder.believe(signed)
        # The first cosignature of a state stays: it says since when the log is known to have been in it.
        if not self._note.startswith(signed.note):
            cosignature = self._signer.cosignature(signed.text, int(self._clock()))
            self._note = self._folder.keep(signed, cosignature)
        self._last = signed.checkpoint
        self._trust = replace(self._trust, keys=signed.keys)
        self._heard = self._now()
        self._listen()
        self._end()
        self._status = replace(
            self._status, origin=self._last.origin, size=self._last.size, succeeded=self._heard
        )

    def _listen(self) -> None:
        """Winds the timer up again."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = asyncio.get_running_loop().call_later(self._interval, self._fall_silent)

    def _fall_silent(self) -> None:
        """The timer's end."""
        self._alarm(Kind.SILENCE, self._unanswered)
        self._folder.say(self._status)

    def _alarm(self, kind: Kind, why: str, evidence: Signed | None = None) -> None:
        """Begins an alarm, unless one is on that is as grave."""
        before = self._status.alarm
        if before is not None and before.kind.gravity >= kind.gravity:
            return
        self._end()
        alarm = Alarm(kind, self._heard if kind is Kind.SILENCE else self._now(), why)
        self._status = replace(self._status, alarm=alarm)
        try:
            if kind.final and evidence is not None:
                self._folder.accuse(alarm, evidence)
        finally:
            self._cry("begins")

    def _cry(self, what: str) -> None:
        alarm = self._status.alarm
        if alarm is not None:
            since = alarm.since.isoformat(timespec="seconds")
            _LOG.error(f"{alarm.kind} {what}: {alarm.why}", origin=self._status.origin, since=since)

    def _end(self) -> None:
        """Ends the alarm that is on, if any."""
        alarm = self._status.alarm
        if alarm is not None:
            self._status = replace(self._status, alarm=None)
            _LOG.info(f"{alarm.kind} ends", origin=self._status.origin)

    @property
    def _over(self) -> bool:
        return self._status.alarm is not None and self._status.alarm.kind.final

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
