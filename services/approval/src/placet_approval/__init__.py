"""ApprovalService: accepts requests and commands, and serves their state."""
