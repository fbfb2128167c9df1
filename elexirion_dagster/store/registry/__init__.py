"""Versions of prompts: which there are, which is in use, and how they do."""
