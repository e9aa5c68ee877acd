"""The witness of an audit log."""
