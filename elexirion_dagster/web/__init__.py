"""Dagster's web server behind a layer of ours."""
