"""The rules of a request by subject: pure functions from state and stimulus to events."""
