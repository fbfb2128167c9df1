"""What happens after a run failed: why, what is done about it, how often."""
