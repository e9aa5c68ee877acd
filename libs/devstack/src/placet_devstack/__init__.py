"""The embedded stack: Temporal, the services and the workers as processes under a supervisor."""
