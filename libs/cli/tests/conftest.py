"""Fixtures that several modules here share."""

from placet_testing.tampering import sample

__all__ = ["sample"]
