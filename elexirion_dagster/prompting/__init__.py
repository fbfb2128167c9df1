"""Templates, examples and inputs to messages; replies to typed data."""
