"""Alembic's entry point: the schema of the answers."""

from placet_decision.store import metadata
from placet_storage import run_migrations_env

run_migrations_env(metadata)
