"""Documents written for pipeline_ex, turned into ours."""
