"""Findings and runs for readers: Markdown, HTML, JSON, SARIF and the terminal."""
