"""Fixtures that several modules here share."""

from placet_testing.sample_home import sample

__all__ = ["sample"]
