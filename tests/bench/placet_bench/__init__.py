"""Measures Placet against bare Temporal, on the same server, in paired rounds."""
