"""The models, one file each, under one contract."""
