"""DecisionService: what the AI thinks of a request."""
