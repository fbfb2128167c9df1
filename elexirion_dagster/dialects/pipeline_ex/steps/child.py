"""Nested pipelines become `pipeline` steps."""

import os
import re
from collections.abc import Callable, Mapping

from elexirion_dagster.dialects.pipeline_ex.book import TYPES, Place
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import own_name
from elexirion_dagster.dialects.pipeline_ex.naming import slug
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import CHILD
from elexirion_dagster.dialects.pipeline_ex.steps.frame import native
from elexirion_dagster.records import Json

Child = Callable[[Mapping[str, Json], Path, Place, Mapping[str, str]], tuple[Placed, Place]]
"""Translates a pipeline inside a step, given the types of what is handed in; also gives what its outputs may name."""
ANY = "any"
"""The type of a value that is known only when the step runs: it is handed in inside a map, under `value`."""
_DEEPEST = 30
_WHOLE = re.compile(r"\{\{ ((?:(?!\}\}).)*) \}\}")


def nested(step: Reader, name: str, place: Place, child: Child) -> list[Placed]:
    """A pipeline by file, by name, or inline."""
    config = step.inside("config", said=CHILD)
    values = step.map("inputs", "input")
    path = step.path("inputs", "input")
    handed = {own_name(str(key)): place.tree(value, (*path, key)) for key, value in values.items()}
    inline = step.value("pipeline")
    outputs: Json = None
    if isinstance(inline, dict):
        handed = {**(_shared(place) if config.flag("inherit_context") else {}), **handed}
        kinds = {key: _kind(value, place) for key, value in handed.items()}
        made, inside = child(inline, step.path("pipeline"), place, kinds)
        declared: Mapping[str, Json] = made.get("inputs", {})
        handed = {
            key: {"value": value} if kinds[key] == ANY and declared[key]["type"] == "object" else value
            for key, value in handed.items()
            if key in declared
        }
        reference: Json = made
        outputs = _outputs(step, inside) or _all(made)
    else:
        config.ignore("inherit_context")
        reference = _reference(step, name, place)
        outputs = _outputs(step, place, known=False)
    fields = {
        "pipeline": reference,
        "inputs": handed or None,
        "outputs": outputs,
        "max_depth": min(config.whole("max_depth") or 1, _DEEPEST) if config.has("max_depth") else None,
        "timeout_s": config.number("timeout_seconds"),
        "continue_on_error": config.flag("continue_on_error") or None,
    }
    config.close()
    return [native(step, name, "pipeline", fields, place)]


def _reference(step: Reader, name: str, place: Place) -> str:
    """A file relative to the document, or a pipeline's name."""
    file = step.text("pipeline_file", "file")
    named = step.text("pipeline_ref", "pipeline")
    if named:
        return slug(named) if "/" not in named and "." not in named else named
    path = step.path("pipeline_file", "file")
    if not file:
        step.notes.refuse(step.at, f"the step {name!r} names no pipeline", "Write pipeline_file:, or pipeline: inline.")
        return name
    if "{{" in file:
        mend = "Use a `switch` step with a `pipeline` step for each case."
        step.notes.refuse(path, "which pipeline runs has to be known before the run", mend)
    folder = place.book.folder
    if folder is not None and not os.path.isabs(file) and not (folder / file).is_file() and os.path.isfile(file):  # noqa: PTH117, PTH113 - texts
        file = os.path.relpath(file, folder)
    return file if file.startswith(("/", "./", "../")) else f"./{file}"


def _kind(value: Json, place: Place) -> str:
    """The type of a value that is handed in, as far as it can be known."""
    if not isinstance(value, str):
        return next((word for kind, word in TYPES.items() if isinstance(value, kind)), ANY)
    whole = _WHOLE.fullmatch(value)
    if whole is None or whole[1].endswith(".text"):
        return "string"
    declared: Mapping[str, Json] = place.book.inputs.get(whole[1].removeprefix("inputs."), {})
    return str(declared.get("type", ANY))


def _shared(place: Place) -> dict[str, Json]:
    """What `inherit_context` hands on: the variables so far."""
    return {name: f"{{{{ vars.{name} }}}}" for name in sorted(place.names.vars)}


def _outputs(step: Reader, inside: Place, *, known: bool = True) -> dict[str, Json] | None:
    """`outputs`: names of steps, or paths into their results with a name of their own."""
    found: dict[str, Json] = {}
    for index, output in enumerate(step.items("outputs")):
        at = (*step.path("outputs"), index)
        path = str(output.get("path", "")) if isinstance(output, dict) else str(output)
        alias = output.get("as") if isinstance(output, dict) else None
        if not path:
            step.notes.refuse(at, "the output has no path", "Write path: and a step's name.")
            continue
        key = own_name(str(alias or path.replace(".", "_")))
        if known:
            found[key] = inside.source(f"steps.{path}" if "." in path else f"steps.{path}.result", at)
        else:
            first, _, rest = path.partition(".")
            found[key] = f"{{{{ steps.{own_name(first)}.data{f'.{rest}' if rest else ''} }}}}"
            step.notes.add(at, f"taken as {found[key]}; a pipeline's own `outputs` are the better place to say so")
    return found or None


def _all(made: Mapping[str, Json]) -> dict[str, Json]:
    """What every step of the child came to, by the step's name."""
    texts = {"llm", "command"}
    return {
        step["name"]: f"{{{{ steps.{step['name']}.{'text' if _is_text(step, texts) else _data(step)} }}}}"
        for step in made["steps"]
    }


def _is_text(step: Mapping[str, Json], texts: set[str]) -> bool:
    return step["type"] in texts and not step.get("output")


def _data(step: Mapping[str, Json]) -> str:
    if step["type"] == "for_each":
        return "results"
    return "data.result" if step["type"] == "set" and set(step["vars"]) == {"result"} else "data"
