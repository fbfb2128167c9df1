"""The verbs: one file per step type."""
