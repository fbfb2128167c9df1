"""Scans and findings, followed from night to night."""
