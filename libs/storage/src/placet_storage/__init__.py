"""Engines, transactions and migrations for a service's own database."""

from placet_storage.columns import UtcDateTime
from placet_storage.database import Database
from placet_storage.errors import DatabaseUnavailable, MigrationFailed
from placet_storage.migrating import run_migrations_env
from placet_storage.shredder import forgetting, shredding, to_be_shredded

__all__ = [
    "Database",
    "DatabaseUnavailable",
    "MigrationFailed",
    "UtcDateTime",
    "forgetting",
    "run_migrations_env",
    "shredding",
    "to_be_shredded",
]
