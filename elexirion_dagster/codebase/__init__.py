"""The code we work on: its files, and what well-kept analyzers find in them."""
