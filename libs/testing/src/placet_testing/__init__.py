"""Fixtures and in-process servers for the tests of all packages."""
