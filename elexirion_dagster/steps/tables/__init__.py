"""Lists of records as SQL tables, and rows as records again."""
