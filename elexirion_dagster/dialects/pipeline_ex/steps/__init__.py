"""Steps of pipeline_ex, turned into ours."""
