"""The command line over operations."""
