"""Alembic's environment: the schema of requests, contents, commands and the view."""

from placet_approval.store.tables import metadata
from placet_storage import run_migrations_env

run_migrations_env(metadata)
