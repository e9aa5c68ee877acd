"""`placet demo`: six requests tell the story, live, on the real stack."""
