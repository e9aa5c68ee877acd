"""Verifies the logs of AuditService from what is stored, without AuditService."""

from placet_verify.errors import CannotVerify, WrongOption, fault_of
from placet_verify.export import ExportSource
from placet_verify.files import Kind, kind_of
from placet_verify.findings import Check, Finding, Findings
from placet_verify.keys import ATTESTING_ADVICE, DEFAULT_ORIGIN, KnownKeys, advice, load_keys
from placet_verify.rows import Record, Row, Source, Table, Unreadable, merged
from placet_verify.sqlite import SqliteSource
from placet_verify.verification import Verification
from placet_verify.witness import Seen, read_alarms

__all__ = [
    "ATTESTING_ADVICE",
    "DEFAULT_ORIGIN",
    "CannotVerify",
    "Check",
    "ExportSource",
    "Finding",
    "Findings",
    "Kind",
    "KnownKeys",
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
    "read_alarms",
]
