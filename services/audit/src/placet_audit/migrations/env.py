"""Alembic's environment: the schema of the log."""

from placet_audit.tables import metadata
from placet_storage import run_migrations_env

run_migrations_env(metadata)
