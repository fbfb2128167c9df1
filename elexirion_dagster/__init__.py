"""The AI runtime: YAML pipelines compiled to Dagster, run, recorded and recovered."""
