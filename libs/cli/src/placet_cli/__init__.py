"""The `placet` command: a client of the services."""
