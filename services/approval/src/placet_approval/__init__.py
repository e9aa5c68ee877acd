"""ApprovalService: takes requests and decisions, and tells what became of them."""
