"""Run by Alembic."""

from placet_notification.store import METADATA
from placet_storage import run_migrations_env

run_migrations_env(METADATA)
