"""One call that sets up tracing, metrics and logs."""
