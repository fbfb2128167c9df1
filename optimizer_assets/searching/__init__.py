"""The search for better prompts; the only place that knows dspy."""
