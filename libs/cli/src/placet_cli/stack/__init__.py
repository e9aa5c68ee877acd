"""The embedded stack: separate processes under a small supervisor."""
