"""The rows that are learned from: divided, compared, shown."""
