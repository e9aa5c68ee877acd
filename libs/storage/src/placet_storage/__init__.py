"""Engines, transactions and migrations for a service's own database."""
