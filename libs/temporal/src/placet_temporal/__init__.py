"""Connects to Temporal and runs a worker: converter, codec, tracing, shutdown."""
