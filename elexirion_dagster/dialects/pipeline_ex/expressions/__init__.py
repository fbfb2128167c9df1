"""Expressions of pipeline_ex, turned into ours: text to tree to text."""
