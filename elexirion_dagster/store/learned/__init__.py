"""What prompts are learned from."""
