"""Verifies the logs of AuditService from what is stored, without AuditService."""

from placet_verify.errors import CannotVerify, WrongOption
from placet_verify.export import ExportSource, once
from placet_verify.faults import fault_of
from placet_verify.findings import Check, Finding, Findings
from placet_verify.keys import DEFAULT_ORIGIN, KnownKeys, advice, load_keys
from placet_verify.kinds import Kind, kind_of
from placet_verify.log import LogReport
from placet_verify.rows import Record, Row, Source, Table, Unreadable, merged
from placet_verify.sqlite import SqliteSource
from placet_verify.verification import Progress, Verification
from placet_verify.witness import KEY_FILE, Seen, read_alarms, read_seen, report_alarms, witness_key

__all__ = [
    "DEFAULT_ORIGIN",
    "KEY_FILE",
    "CannotVerify",
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
    "WrongOption",
    "advice",
    "fault_of",
    "kind_of",
    "load_keys",
    "merged",
    "once",
    "read_alarms",
    "read_seen",
    "report_alarms",
    "witness_key",
]
