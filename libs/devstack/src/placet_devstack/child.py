"""One process of the stack: started, watched until it is ready, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from placet_cli.home import typed
from placet_cli.problems import Problem
from placet_devstack.probes import Probe
from placet_rpc.program import REFUSED

PROBE_EVERY = 0.05
START_ATTEMPTS = 3
FIRST_BACKOFF = 0.2
MAX_BACKOFF = 10.0
# Pause before an optional process is started again that died START_ATTEMPTS times in a row.
AWAY_PAUSE = 30.0
LOG_LIMIT = 10 << 20
SHOWN_LOG_LINES = 6


@dataclass(frozen=True)
class ProcessSpec:
    """A process and the conditions of its start.

    It starts once everything in `needs` is ready, with `env` as its whole environment and its output
    appended to `log`. `ready_file` is removed before each start. Limits are in seconds.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    probe: Probe
    needs: tuple[str, ...] = ()
    address: str = ""
    ready_file: Path | None = None
    start_limit: float = 60.0
    stop_limit: float = 10.0
    # Pause before the first restart; each death in a row doubles it, to MAX_BACKOFF.
    restart_pause: float = FIRST_BACKOFF
    # True when the rest goes on without it: nothing waits for it once it has died, and it is tried for ever.
    optional: bool = False


@dataclass(frozen=True)
class StackEvent:
    """An event of a process: "ready", "died", "cannot run", "stopping", "stopped", "killed"."""

    name: str
    what: str
    detail: str = ""
    bad: bool = False


Report = Callable[[StackEvent], None]


@dataclass
class Process:
    """Keeps one process running until it is stopped."""

    spec: ProcessSpec
    report: Report
    # Called whenever the process id or the readiness changed.
    changed: Callable[[], None] = lambda: None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    # Set once nobody need wait for it any more: it was ready, or is optional and died.
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    was_ready: bool = False
    _running: asyncio.subprocess.Process | None = None
    # Where in its log this stack's lines begin; None before the first.
    _log_begun: int | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    # Held while a process is being started, so that a stop cannot miss it.
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pid(self) -> int | None:
        """The id of the running process, which leads a process group of that id; None when there is none."""
        return None if self._running is None or self._running.returncode is not None else self._running.pid

    async def keep(self) -> None:
        """Starts the process, and again whenever it dies, until `stop` is called.

        Raises Problem if it dies START_ATTEMPTS times before it was ever ready, or once because it refuses
        its configuration; later, and if it is optional, it is started for ever.
        """
        backoff = self.spec.restart_pause
        failures = 0
        while not self._stopping.is_set():
            how, was_ready = await self._run_once()
            if self._stopping.is_set():
                return
            refused = how == _REFUSAL and not was_ready
            if refused and not self.was_ready and not self.spec.optional:
                raise self._cannot_be_configured()
            failures = 0 if was_ready else max(failures + 1, START_ATTEMPTS if refused else 0)
            is_away = self.spec.optional and failures >= START_ATTEMPTS
            self._report_death(how, failures)
            if not self.was_ready and not self.spec.optional and failures >= START_ATTEMPTS:
                raise self._cannot_start(how)
            backoff = self.spec.restart_pause if was_ready else backoff
            await asyncio.sleep(AWAY_PAUSE if is_away else backoff)
            backoff = min(backoff * 2, MAX_BACKOFF)

    async def _run_once(self) -> tuple[str, bool]:
        """From start to death: how it ended, and whether it was ready meanwhile."""
        begun = time.monotonic()
        try:
            running = await self._start()
        except OSError as error:
            return f"could not be started: {error}", False
        if running is None:
            return "was not started", False
        ready = await self._became_ready(running)
        if ready:
            self._report_ready(time.monotonic() - begun)
        status = await running.wait()
        self.ready.clear()
        self.changed()
        # Its own children may have survived it.
        self._signal_group(running.pid, signal.SIGKILL)
        return _describe(status), ready

    async def stop(self) -> None:
        """Asks the process to end, kills it if it does not within its limit, and returns when it is gone."""
        async with self._starting:
            self._stopping.set()
        running = self._running
        if running is None or running.returncode is not None:
            return
        self.report(StackEvent(self.spec.name, "stopping"))
        with contextlib.suppress(ProcessLookupError):
            running.terminate()
        try:
            async with asyncio.timeout(self.spec.stop_limit):
                await running.wait()
        except TimeoutError:
            self.kill()
            await running.wait()
            detail = f"it did not stop within {self.spec.stop_limit:.0f} s"
            self.report(StackEvent(self.spec.name, "killed", detail, bad=True))
        else:
            self.report(StackEvent(self.spec.name, "stopped"))

    def kill(self) -> None:
        """Kills the process and all of its group at once."""
        self._stopping.set()
        if self.pid is not None:
            self._signal_group(self.pid, signal.SIGKILL)

    async def _start(self) -> asyncio.subprocess.Process | None:
        async with self._starting:
            if self._stopping.is_set():
                return None
            if self.spec.ready_file is not None:
                self.spec.ready_file.unlink(missing_ok=True)
            with open_log(self.spec.log) as log:
                # A log that was put aside meanwhile begins anew.
                self._log_begun = min(log.tell(), log.tell() if self._log_begun is None else self._log_begun)
                self._running = await asyncio.create_subprocess_exec(
                    *self.spec.command,
                    env=dict(self.spec.env),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A group of its own: the terminal's Ctrl-C reaches the supervisor alone.
                    start_new_session=True,
                )
        self.changed()
        return self._running

    async def _became_ready(self, running: asyncio.subprocess.Process) -> bool:
        """Waits until the probe says yes or the process is gone; kills one that is not ready in time."""
        deadline = time.monotonic() + self.spec.start_limit
        while running.returncode is None and not self._stopping.is_set():
            if await self.spec.probe():
                return True
            if time.monotonic() > deadline:
                detail = f"not ready after {self.spec.start_limit:.0f} s; starting it again"
                self.report(StackEvent(self.spec.name, "killed", detail, bad=True))
                self._signal_group(running.pid, signal.SIGKILL)
                return False
            await asyncio.sleep(PROBE_EVERY)
        return False

    def _report_ready(self, seconds: float) -> None:
        what = "ready again" if self.was_ready else "ready"
        where = f"{self.spec.address}, " if self.spec.address else ""
        self.was_ready = True
        self.ready.set()
        self.settled.set()
        self.changed()
        self.report(StackEvent(self.spec.name, what, f"{where}{seconds:.1f} s, pid {self.pid}"))

    def _report_death(self, how: str, failures: int) -> None:
        """Reports each death; an optional process's until START_ATTEMPTS in a row, then the reason."""
        if self.spec.optional:
            self.settled.set()
            if failures > START_ATTEMPTS:
                return
        self.report(StackEvent(self.spec.name, "died", how, bad=True))
        if self.spec.optional and failures == START_ATTEMPTS:
            why = "".join(self._last_lines(1)) or how
            again = f"the rest goes on without it; it is tried each {AWAY_PAUSE:.0f} s"
            self.report(StackEvent(self.spec.name, "cannot run", f"{why} ({again})", bad=True))

    def _cannot_start(self, how: str) -> Problem:
        return Problem(
            f"{self.spec.name} does not start: it {how}, {START_ATTEMPTS} times",
            "\n".join(self._last_lines()) or "it wrote nothing to its log",
            tries=(f"less {typed(self.spec.log)}", "placet doctor"),
        )

    def _cannot_be_configured(self) -> Problem:
        """The sentence with which it refused its configuration."""
        said = "".join(self._last_lines(1)) or f"{self.spec.name} {_REFUSAL}, and does not say why"
        return Problem(said, "the stack was stopped", tries=("placet up  (once this is corrected)",))

    def _last_lines(self, count: int = SHOWN_LOG_LINES) -> list[str]:
        """The last lines of its log since this stack began."""
        return last_lines(self.spec.log, count, since=self._log_begun or 0)

    @staticmethod
    def _signal_group(pid: int, number: signal.Signals) -> None:
        # PermissionError: on macOS, a group that holds only zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def open_log(path: Path) -> BinaryIO:
    """The log, to append to. One that has grown large is put aside first, over the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def last_lines(path: Path, count: int = SHOWN_LOG_LINES, *, since: int = 0) -> list[str]:
    """The last lines of a log for a terminal: what they say, without their form, repeats and stack traces.

    `since`: the byte from which on they count.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(since, path.stat().st_size - 65536))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    said = [_said(line)[:300] for line in text.splitlines() if line.strip()]
    return list(dict.fromkeys(said[-count:]))


def _said(line: str) -> str:
    """The message of a structured log line, with the error that it carries; any other line as it is."""
    try:
        record = json.loads(line)
        message, trace = str(record["event"]), str(record.get("exception", ""))
    except (ValueError, KeyError, TypeError):
        return line
    return f"{message}: {trace.splitlines()[-1]}" if trace.strip() else message


_REFUSAL = "refuses its configuration"


def _describe(status: int) -> str:
    if status == REFUSED:
        return _REFUSAL
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
