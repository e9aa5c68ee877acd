"""Trials that only tests/chaos runs: random kills, duplicate requests, decisions that race a timer."""
