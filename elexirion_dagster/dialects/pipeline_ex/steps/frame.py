"""What every step has, and the native step made of it."""

from collections.abc import Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import RETRY
from elexirion_dagster.dialects.pipeline_ex.steps.calls import retry, seconds
from elexirion_dagster.records import Json

_GO_ON = frozenset({"continue", "skip", "ignore", "warn", "log"})


def native(
    step: Reader, name: str, kind: str, fields: Mapping[str, Any], place: Place, *, own_retry: bool = False
) -> Placed:
    """The native step: name, type, what every step has, its own keys; `own_retry`: `fields` say all about retries."""
    step.ignore("name", "type", "id")
    own = {key: value for key, value in fields.items() if value is not None}
    tail: dict[str, Any] = {
        "retry": None if own_retry else _retry(step),
        "timeout_s": seconds(step),
        "continue_on_error": _goes_on(step, place) or None,
        "output_to": output_to(step, place),
    }
    said = {key: value for key, value in tail.items() if value is not None}
    limit = place.book.defaults.timeout_s
    ends = {**{key: own.pop(key) for key in tail if key in own}, **said}
    ends = {"timeout_s": limit, **ends} if limit else ends
    head = {"name": name, "type": kind, "description": step.text("description"), "when": condition(step, place)}
    origins = {"when": step.path("condition"), "prompt": step.path("prompt"), "output": schema_path(step)}
    return Placed(step.at, {**head, **own, **ends}, origins)


def condition(step: Reader, place: Place) -> str | None:
    """The condition under which the step runs."""
    value = step.value("condition")
    return None if value is None or value is True else place.condition(value, step.path("condition"))


def schema_path(step: Reader) -> Path:
    """Where the step says what its answer looks like."""
    return step.path("output_schema", "schema", "functions")


def output_to(step: Reader, place: Place, *names: str) -> str | None:
    """The file that receives the result, in the run's workspace below the defaults' output folder."""
    keys = names or ("output_to_file", "output_file", "output_to")
    file = step.text(*keys)
    if not file:
        return None
    path = step.path(*keys)
    template = place.text(file, path)
    if (below := place.book.inside(template)) is not None:
        return below
    if template.startswith("/") or ".." in template.split("/"):
        template = "/".join(part for part in template.split("/") if part not in ("", "..", "."))
        place.notes.add(path, f"results are written in the run's workspace, so this one goes to {template}")
    folder = (place.book.defaults.output_dir or "").strip("/").removeprefix("./")
    inside = template.removeprefix("./")
    return f"{folder}/{inside}" if folder and ".." not in folder.split("/") else inside


def _retry(step: Reader) -> Json:
    for key, first in (("retry_config", False), ("retry", False)):
        if isinstance(step.data.get(key), dict):
            return retry(step.inside(key, said=RETRY), first_counts=first)
    if step.flag("retry_on_error"):
        return {"max_attempts": 3}
    return None


def _goes_on(step: Reader, place: Place) -> bool:
    said = step.flag("continue_on_error")
    word = step.value("on_error")
    if word is not None:
        if str(word) in _GO_ON:
            return True
        if str(word) not in ("fail", "stop", "halt"):
            step.notes.add(step.path("on_error"), "not used; `continue_on_error`, `retry` and `fallback` are there")
    return place.book.defaults.continue_on_error if said is None else said
