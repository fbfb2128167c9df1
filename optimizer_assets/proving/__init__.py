"""Whether a candidate is better, on rows that no search saw."""
