"""AuditService: the append-only record, and the commit point of every step."""
