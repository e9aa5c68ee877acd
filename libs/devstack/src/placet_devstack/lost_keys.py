"""Lost keys: missing ones whose data is still there, so that no new key may replace them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from placet_cli.home import Home, shown, typed
from placet_cli.problems import Problem


@dataclass(frozen=True)
class LostKey:
    """A key that is gone. `needed`: without it the stack is not to start."""

    path: Path
    needed: bool
    problem: Problem


def lost_keys(home: Home) -> list[LostKey]:
    """The lost keys of a home, the gravest first."""
    return list(_lost(home))


def _lost(home: Home) -> Iterator[LostKey]:
    if not home.log_key.exists() and _holds_a_log(home.database("audit")):
        yield LostKey(home.log_key, True, _log_key(home))
    if not home.attestation_keys.exists() and _holds_a_log(home.database("audit")):
        yield LostKey(home.attestation_keys, True, _attestation_keys(home))
    if not home.payload_key.exists() and home.database("temporal").exists():
        yield LostKey(home.payload_key, True, _payload_key(home))
    if not home.witness_key.exists() and any(home.witness.glob("*.checkpoint")):
        yield LostKey(home.witness_key, False, _witness_key(home))


def _log_key(home: Home) -> Problem:
    return Problem(
        f"{shown(home.log_key)} is gone, and {shown(home.database('audit'))} holds a log that it signed",
        "without it nothing can be appended to that log, and a new key would be none of its own: "
        "none is made, and nothing is started",
        tries=(
            _put_back(home.log_key),
            "placet audit verify --key log.vkey  (if you kept its public key: the log can still be verified)",
            "placet up --home ANOTHER-FOLDER  (a new log with a new key; this home stays as it is)",
        ),
    )


def _attestation_keys(home: Home) -> Problem:
    return Problem(
        f"{shown(home.attestation_keys)} is gone, and {shown(home.database('audit'))} holds a log",
        "without these public keys no person's command in that log is believed: nothing is started",
        tries=(
            f"put {typed(home.attestation_keys)} back from your backup",
            "write the `attestationKeys` of a receipt or export of it into the file, one a line",
        ),
    )


def _payload_key(home: Home) -> Problem:
    return Problem(
        f"{shown(home.payload_key)} is gone, and {shown(home.database('temporal'))} holds what it encrypted",
        "without it no request that waits can go on from there: no new one is made, and nothing is started",
        tries=(
            _put_back(home.payload_key),
            f"mv {typed(home.database('temporal'))}* FOLDER  (without a backup: what waits goes on anew)",
        ),
    )


def _witness_key(home: Home) -> Problem:
    return Problem(
        f"{shown(home.witness_key)} is gone, and {shown(home.witness)} holds what it cosigned",
        "without it the witness does not run, and what happens to the log is not watched",
        tries=(_put_back(home.witness_key),),
    )


def _put_back(key: Path) -> str:
    return f"put {typed(key)} back from your backup, mode 0600"


def _holds_a_log(database: Path) -> bool:
    """True when the database holds a signed log, or cannot be read."""
    if not database.exists():
        return False
    # Without a write-ahead log nobody has the file open, and none is to be made by who only looks.
    alone = not database.with_name(database.name + "-wal").exists()
    uri = f"file:{quote(str(database))}?mode=ro{'&immutable=1' * alone}"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            # A database without tables, from a first start that was killed, holds no log.
            tables = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'checkpoint'"
            rows = "SELECT EXISTS (SELECT 1 FROM entry) OR EXISTS (SELECT 1 FROM checkpoint)"
            return all(connection.execute(query).fetchone()[0] for query in (tables, rows))
    except sqlite3.Error:
        return True
