"""Files and ports of an embedded stack."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from placet_cli.problems import Problem, WrongInput

DEFAULT_HOME = ".placet"
DEFAULT_PORT_BASE = 7400
HOST = "127.0.0.1"
_FOLDERS = ("", "keys", "tokens", "logs", "run", "data")


@dataclass(frozen=True)
class Ports:
    """The ports of one stack, all counted from `base`; two stacks need bases at least 20 apart."""

    base: int = DEFAULT_PORT_BASE

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65_500:
            raise WrongInput(
                f"--port-base {self.base} cannot be used",
                "a stack needs 14 ports from its base on, between 1024 and 65535",
                tries=(f"placet up --port-base {DEFAULT_PORT_BASE}",),
            )

    @property
    def all(self) -> dict[str, int]:
        """Each port by what listens on it."""
        offsets = {
            "approval": 0,
            "audit": 1,
            "decision": 2,
            "notification": 3,
            "temporal": 10,
            "temporal-ui": 11,
            "spans": 12,
            "mail": 13,
        }
        return {name: self.base + offset for name, offset in offsets.items()}

    def address(self, name: str) -> str:
        """`host:port` of what is called `name` in `all`."""
        return f"{HOST}:{self.all[name]}"


@dataclass(frozen=True)
class Home:
    """The folder that holds all data of one embedded stack, absolute (PLACET_HOME)."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Home:
        """The home at `path`, which need not exist yet."""
        return cls(path.expanduser().absolute())

    @property
    def keys(self) -> Path:
        """The signing key and its public half."""
        return self.path / "keys"

    @property
    def payload_key(self) -> Path:
        """32 random bytes: the AES key of Temporal's payloads."""
        return self.keys / "payload.key"

    @property
    def log_key(self) -> Path:
        """The keys that the log's checkpoints are signed with, newest first."""
        return self.keys / "log.pem"

    @property
    def attestation_key(self) -> Path:
        """ApprovalService's private key, which signs people's commands, in PEM."""
        return self.keys / "attestation.pem"

    @property
    def attestation_keys(self) -> Path:
        """The public keys of attestations: that of ApprovalService, and those that it had before."""
        return self.keys / "attestation.vkey"

    @property
    def witness_key(self) -> Path:
        """The witness's private key, in PEM."""
        return self.keys / "witness.pem"

    @property
    def witness(self) -> Path:
        """The witness's record of the log: outside `data`, so that both are not rolled back together."""
        return self.path / "witness"

    @property
    def lock(self) -> Path:
        """Locked for as long as a stack runs on this home."""
        return self.path / "stack.lock"

    @property
    def state(self) -> Path:
        """The state file: the supervisor, its ports, its processes."""
        return self.path / "stack.json"

    @property
    def start_failure(self) -> Path:
        """The record of a start that failed, until the next one begins."""
        return self.path / "start-failure.json"

    def token(self, name: str) -> Path:
        """The token file of one service, worker or program."""
        return self.path / "tokens" / name

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.path / "logs" / f"{name}.log"

    def ready(self, name: str) -> Path:
        """The file that a process touches when it is ready."""
        return self.path / "run" / f"{name}.ready"

    def database(self, name: str) -> Path:
        """The SQLite file of one process."""
        return self.path / "data" / f"{name}.db"

    @property
    def mails(self) -> Path:
        """The mails that the mail sink received."""
        return self.path / "mails"

    def prepare(self) -> None:
        """Makes the folders, readable by their owner only. Raises Problem."""
        try:
            for name in _FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self.check()
        except OSError as error:
            raise self.unusable(error) from error

    def check(self) -> None:
        """Raises OSError where one of the folders that are there cannot be used."""
        for name in _FOLDERS:
            folder = self.path / name
            if folder.exists() and not _usable(folder):
                fault = errno.EACCES if folder.is_dir() else errno.ENOTDIR
                raise OSError(fault, os.strerror(fault), str(folder))

    def unusable(self, error: OSError) -> Problem:
        """The error of a stack that cannot keep its data here."""
        where = f"{error.filename}: " if error.filename else ""
        return Problem(
            f"cannot keep data in {self.path}",
            f"{where}{error.strerror or error}",
            tries=("placet up --home /a/folder/that/you/own", f"ls -ld {shlex.quote(str(self.path))}"),
        )


def _usable(folder: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective)


def shown(path: Path) -> str:
    """A path as a user would call it: relative to here when it is below."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def typed(path: Path) -> str:
    """A path quoted for a shell command."""
    return shlex.quote(shown(path))
