"""The tools a model may be offered: a closed list, confined to what the run was granted."""
