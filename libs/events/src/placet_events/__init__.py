"""The mapper between the workflow's events and the audit contract."""
