"""Alerts from sensors."""

from collections.abc import Mapping

import dagster as dg

from elexirion_dagster.alerts import send
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings


def alert(context: dg.SensorEvaluationContext, settings: Settings, message: Mapping[str, Json]) -> None:
    """Tell whoever wants to know; an alert that is not taken must not stop the watch."""
    if settings.alert is None:
        return
    try:
        send(settings.alert, message, folder=settings.home)
    except ElexirionError as error:
        context.log.warning("the alert was not taken: %s", error)
