"""The code we work on: files and analyzers."""
