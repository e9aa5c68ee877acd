"""Processes on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field

# psutil publishes no types; what is used of it is typed here at once.
import psutil


@dataclass(frozen=True)
class Holder:
    """A process on this machine. `created` distinguishes it from a later one with the same id."""

    pid: int
    created: float
    command: str = field(compare=False)

    @classmethod
    def of(cls, pid: int) -> Holder | None:
        """The process with this id; None when there is none, or it is not ours to see."""
        try:
            process = psutil.Process(pid)
            command = " ".join(process.cmdline()) or process.name()
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time(), command)
        except psutil.Error:
            return None

    def __str__(self) -> str:
        command = self.command if len(self.command) <= 100 else self.command[:99] + "…"
        return f"process {self.pid} ({command})"


def suspended(pid: int) -> bool:
    """True when a process is suspended (Ctrl-Z, SIGSTOP)."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False
