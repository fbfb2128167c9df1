"""What may be spent, and who may call now: one SQLite file for all processes of a home."""
