"""Engines, transactions and migrations for a service's own database."""

from placet_storage.columns import UtcDateTime
from placet_storage.database import Database
from placet_storage.engines import truncate_wal_after_commit
from placet_storage.errors import DatabaseUnavailable, MigrationFailed
from placet_storage.migrations import run_migrations_env
from placet_storage.retention import PURGE_SECONDS, purge_old

__all__ = [
    "PURGE_SECONDS",
    "Database",
    "DatabaseUnavailable",
    "MigrationFailed",
    "UtcDateTime",
    "purge_old",
    "run_migrations_env",
    "truncate_wal_after_commit",
]
