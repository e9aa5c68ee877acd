"""`placet demo`: six requests, live, on the real stack."""
