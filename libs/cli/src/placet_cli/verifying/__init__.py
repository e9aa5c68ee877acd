"""Verifies the logs of AuditService from what is stored, without AuditService: see `verification.py`."""

from placet_cli.verifying.export import ExportSource, once
from placet_cli.verifying.faults import fault_of
from placet_cli.verifying.findings import Check, Finding, Findings
from placet_cli.verifying.keys import DEFAULT_ORIGIN, KnownKeys, advice
from placet_cli.verifying.kinds import Kind, kind_of
from placet_cli.verifying.log import LogReport
from placet_cli.verifying.rows import Record, Row, Source, Table, Unreadable, merged
from placet_cli.verifying.sqlite import SqliteSource
from placet_cli.verifying.verification import Progress, Verification
from placet_cli.verifying.witness import KEY_FILE, Seen, read_alarms, read_seen, tell_alarms, witness_key

__all__ = [
    "DEFAULT_ORIGIN",
    "KEY_FILE",
    "Check",
    "ExportSource",
    "Finding",
    "Findings",
    "Kind",
    "KnownKeys",
    "LogReport",
    "Progress",
    "Record",
    "Row",
    "Seen",
    "Source",
    "SqliteSource",
    "Table",
    "Unreadable",
    "Verification",
    "advice",
    "fault_of",
    "kind_of",
    "merged",
    "once",
    "read_alarms",
    "read_seen",
    "tell_alarms",
    "witness_key",
]
