"""Pytest plugin: settings of property tests, in which no time of an example fails a test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("placet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("placet")
