"""A code location for a web server: a job that takes any inputs, and one with partitions."""

import dagster as dg


@dg.op(config_schema={"inputs": dict})
def look() -> None: ...


@dg.job
def given():
    look()


@dg.static_partitioned_config(["a", "b"])
def by_letter(_key: str):
    return {"ops": {"look": {"config": {"inputs": {}}}}}


@dg.job(config=by_letter)
def lettered():
    look()


defs = dg.Definitions(jobs=[given, lettered])
