"""Engines, transactions and migrations for a service's own database."""

from placet_storage.columns import UtcDateTime
from placet_storage.database import PURGE_SECONDS, Database, purge_expired
from placet_storage.engines import truncate_wal_after_commit
from placet_storage.errors import DatabaseUnavailable, MigrationFailed
from placet_storage.migrations import run_migrations_env

__all__ = [
    "PURGE_SECONDS",
    "Database",
    "DatabaseUnavailable",
    "MigrationFailed",
    "UtcDateTime",
    "purge_expired",
    "run_migrations_env",
    "truncate_wal_after_commit",
]
