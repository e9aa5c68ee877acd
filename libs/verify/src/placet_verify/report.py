"""The report of a verification, in words and as JSON."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from placet_text import one_line
from placet_verify.findings import Check
from placet_verify.keys import ATTESTING_ADVICE, KnownKeys, advice
from placet_verify.log import LogReport
from placet_verify.options import Request
from placet_verify.screen import Screen
from placet_verify.verification import Verification

NOT_EXCLUDED = (
    "that a log was put back to an earlier state, deleted whole, or rewritten with its own stolen key."
)

_NEWER = (
    "That is usual while a log grows, and nothing that the export holds contradicts the witness. To prove "
    "one: copy the witness's folder first, then export, and verify the export with that copy."
)

# In seconds: it looks every few of them.
_LONG_UNSEEN = 3600


class Report:
    """The report on all verified logs of a source."""

    def __init__(self, verification: Verification, keys: KnownKeys, request: Request) -> None:
        """`keys`: those that it was verified with."""
        self._logs, self._findings, self._request = verification.logs, verification.findings, request
        self._keys = keys

    @property
    def proven(self) -> bool:
        """True when something was verified and nothing is wrong."""
        return not self._findings and not self._nothing

    @property
    def _nothing(self) -> str:
        """The reason that nothing could be proven though nothing is wrong; "" when something was."""
        if self._findings or any(log.entries for log in self._logs):
            return ""
        of = f" of {one_line(self._request.tenant)}" if self._request.tenant else ""
        if self._logs:
            return "this export is of a log without entries"
        if self._request.export is not None:
            return f"there is no log{of} in this export"
        if of:
            return f"there is no log{of}"
        return "there is no entry and no checkpoint of any log in this database"

    @property
    def _instead(self) -> str:
        """The next step when nothing could be proven."""
        if not self._logs and self._request.tenant:
            return "The logs are listed without --tenant."
        begun = "A log begins with its first request, so that a new one is empty."
        if self._request.witness is not None:
            return f"{begun} The witness keeps nothing of a log that the known keys are of, either."
        return (
            f"{begun} If there were requests before, then their entries are gone: compare it with what a "
            "witness keeps (--witness FOLDER), or with an export that was made before."
        )

    def print(self, screen: Screen, whose: str) -> None:
        """In words. `whose`: with which keys it was verified."""
        if why := self._nothing:
            screen.say(f"! Nothing is proven: {why}", "bold yellow")
            screen.paragraph(self._instead)
            return
        self._print_logs(screen)
        if self._findings:
            self._print_findings(screen)
        if not_excluded := _not_excluded(self._logs, self._request):
            screen.paragraph(f"{not_excluded}: {NOT_EXCLUDED}", "dim")
        screen.paragraph(f"Verified with {whose}.", "dim")

    def _print_logs(self, screen: Screen) -> None:
        request = self._request
        for log in self._logs:
            mark, style = self._mark(log)
            line = f"{self._log(log)}, {self._outcome(log)}{_witnessed(log, request)}"
            screen.lead(f"{mark} ", style, line)
            for key, size in log.also_signed.items():
                screen.paragraph(
                    f"{one_line(log.tenant)} is also signed by an unknown key, {one_line(key)}, from "
                    f"checkpoint {size:,} on: a hand-over? placet audit checkpoint --keys"
                )
            if log.seen and (unseen := _unseen(log)):
                screen.paragraph(f"! {unseen} {self._is_it_away}", "bold yellow")

    @property
    def _is_it_away(self) -> str:
        if self._request.own_witness:
            return "`placet doctor` says whether it runs."
        return "Does it run still, and is this what its folder holds now?"

    def _mark(self, log: LogReport) -> tuple[str, str]:
        if self._older(log):
            return "!", "bold yellow"
        return ("✗", "bold red") if self._wrong(log) else ("✓", "green")

    def _older(self, log: LogReport) -> bool:
        """True when the only fault is an export that is older than what a witness saw."""
        only = self._findings.of(log.tenant) == log.older and not self._findings.of("")
        # Of nothing at all, being older is no excuse.
        return only and bool(log.older and log.entries)

    def _wrong(self, log: LogReport) -> bool:
        """True when the log or the storage of all logs has a finding."""
        return bool(self._findings.of(log.tenant) or self._findings.of(""))

    def _log(self, log: LogReport) -> str:
        there = log.entries - log.missing
        said = f"{one_line(log.tenant)}: {there:,}{f' of {log.entries:,}' * bool(log.missing)} entries"
        if self._findings.unreadable(log.tenant):
            return f"{said}, and not all of it can be read"
        root = _root(log)
        return f"{said}{f', root {root}' * bool(root)}, {log.checkpoints:,} checkpoints"

    def _outcome(self, log: LogReport) -> str:
        wrong = self._findings.of(log.tenant)
        if self._older(log):
            return "whole as far as it goes, but not proven to be all"
        if not wrong:
            return "no finding of its own, but see below" if self._wrong(log) else "all good"
        return "1 finding" if wrong == 1 else f"{wrong:,} findings"

    def _print_findings(self, screen: Screen) -> None:
        findings = self._findings
        if self._logs:
            screen.say()
        else:
            screen.say("✗ No log could be verified", "bold red")
        untold = len(findings)
        for finding, *others in itertools.islice(findings.together(), self._request.most):
            place = one_line(finding.place_with(others))
            screen.lead(f"{place}: " if place else "", "bold", one_line(finding.what))
            untold -= 1 + len(others)
        if untold:
            screen.say(f"… and {untold:,} more: --most {len(findings)}", "dim")
        screen.say()
        if advised := self._advice:
            screen.paragraph(one_line(advised))
            screen.say()

    @property
    def _advice(self) -> str:
        """The next step for the first log that has one; "" when there is none."""
        if any(self._older(log) for log in self._logs):
            return _NEWER
        advised = (advice(log.strange, self._keys.of(log.tenant)) for log in self._logs)
        unknown = not self._keys.attesting and any(one.check is Check.ATTESTATION for one in self._findings)
        return next(filter(None, advised), ATTESTING_ADVICE if unknown else "")

    def as_json(self) -> dict[str, object]:
        """For programs."""
        findings, logs = self._findings, self._logs
        listed = list(itertools.islice(findings, self._request.most))
        nothing = {"why": self._nothing} if self._nothing else {}
        return {
            "proven": self.proven,
            **nothing,
            "keysFrom": "given" if self._request.keys else "home",
            "witnessed": bool(logs) and all(log.seen for log in logs),
            "logs": [
                {
                    "tenant": log.tenant,
                    "entries": log.entries,
                    "missing": log.missing,
                    "root": _root(log) or None,
                    "checkpoints": log.checkpoints,
                    "findings": findings.of(log.tenant),
                    "olderThanWitness": self._older(log),
                    "witnessed": log.seen > 0,
                    "seenByWitness": log.seen,
                    "lastSeenByWitness": _iso(log),
                    "alsoSignedBy": [
                        {"key": key, "fromCheckpoint": size} for key, size in log.also_signed.items()
                    ],
                }
                for log in logs
            ],
            "findings": [one.as_json() for one in listed],
            "findingsLeftOut": len(findings) - len(listed),
        }


def _not_excluded(logs: Sequence[LogReport], request: Request) -> str:
    """The logs whose rollback is not excluded; "" when a witness saw all of them."""
    if request.witness is None:
        return "Not excluded without --witness"
    if not logs:
        return "Not excluded, for the witness saw nothing"
    # Nothing is known of a signer whose key is not known.
    unseen = [one_line(log.tenant) for log in logs if not log.seen and not log.strange]
    named = " and ".join(filter(None, (", ".join(unseen[:-1]), *unseen[-1:])))
    return f"Not excluded of {named}, which no witness saw" if unseen else ""


def _root(log: LogReport) -> str:
    """The root of its entries in base64; "" when some are missing."""
    return "" if log.missing else base64.b64encode(log.root).decode()


def _witnessed(log: LogReport, request: Request) -> str:
    if request.witness is None:
        return ""
    if not log.seen:
        return "" if log.strange else "; no witness saw any of them"
    last = _utc(log.last_seen)
    when = f", last at {utc(last)}" if last else ""
    # Of a log that was cut off it saw more than there are.
    return f"; a witness saw {log.seen:,}{' of them' * (log.seen <= log.entries)}{when}"


def _unseen(log: LogReport) -> str:
    """For how long no witness has seen the log, where that is long; else ""."""
    last = _utc(log.last_seen)
    if last is None:
        return ""
    away = datetime.now(UTC) - last
    if away.total_seconds() < _LONG_UNSEEN:
        return ""
    return (
        f"No witness has seen the log of {one_line(log.tenant)} for {age(away)}: what was written since was "
        "compared with nothing, and could have been cut off without a trace."
    )


def _iso(log: LogReport) -> str | None:
    last = _utc(log.last_seen) if log.seen else None
    return None if last is None else last.isoformat()


def _utc(posix: int) -> datetime | None:
    """None for a time that cannot be."""
    try:
        return datetime.fromtimestamp(posix, UTC)
    except (ValueError, OverflowError, OSError):
        return None


# Written anew beside `placet_cli.times`: the verifier shares no code with the command line.
def utc(time: datetime) -> str:
    """A point in time: "2026-01-31 12:00:00 UTC"."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(duration: timedelta) -> str:
    """A span of time by its largest unit: "12 s", "3 min", "2 d"."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
