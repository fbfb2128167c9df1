"""The instance that the ticks of this process share."""

from functools import lru_cache

import dagster as dg
from dagster._core.instance.ref import InstanceRef


def kept_instance(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """The instance of a tick, opened once per process and place: Dagster opens it anew for each tick (20 ms, measured).

    Its storages open a connection for every question, so threads may share it.
    """
    ref = context.instance_ref
    return context.instance if ref is None else _opened(dg.serialize_value(ref))


@lru_cache(maxsize=1)
def _opened(ref: str) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(dg.deserialize_value(ref, InstanceRef))
