"""Connects to Temporal and runs a worker: converter, codec, tracing, shutdown."""

from placet_temporal.connection import connect
from placet_temporal.settings import TemporalSettings
from placet_temporal.worker import WorkerSettings, run_worker_program

__all__ = ["TemporalSettings", "WorkerSettings", "connect", "run_worker_program"]
