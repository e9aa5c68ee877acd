"""The placet command, and the embedded stack."""
