"""The verbs of the house, one file per noun."""
