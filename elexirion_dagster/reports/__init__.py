"""Findings and runs for people and tools to read."""
