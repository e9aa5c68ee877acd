"""The approval workflow, its events and its policy model."""
