"""The language: pure pydantic models, checks and edges, no input or output."""
