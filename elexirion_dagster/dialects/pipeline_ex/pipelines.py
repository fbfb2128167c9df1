"""A whole pipeline of theirs as one of ours: the root's keys, and the steps under them."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import SOURCE_FILES, TYPES, Book, Place
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Names, own_name
from elexirion_dagster.dialects.pipeline_ex.naming import free
from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.presets import Defaults
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import BUDGET, DEFAULTS, ENVIRONMENT, OPTIONS, ROOT
from elexirion_dagster.dialects.pipeline_ex.steps.catalog import Translator
from elexirion_dagster.dialects.pipeline_ex.steps.child import ANY
from elexirion_dagster.dialects.pipeline_ex.wanted import wanted_fields
from elexirion_dagster.records import Json

_SOURCE = (
    *("py", "pyi", "js", "jsx", "mjs", "ts", "tsx", "go", "rs", "ex", "exs", "erl", "rb", "java", "kt", "scala"),
    *("c", "h", "cc", "cpp", "hpp", "cs", "swift", "php", "sh", "sql", "lua", "r", "jl", "hs", "clj", "vue", "svelte"),
)
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **{word: word for word in ("string", "path", "integer", "number", "boolean", "list", "object")},
        "array": "list",
        "int": "integer",
        "float": "number",
        "bool": "boolean",
        "map": "object",
        "file": "path",
        "str": "string",
        "text": "string",
        "directory": "path",
        "dir": "path",
    }
)
_INPUT_KEYS = frozenset({"type", "default", "description", "required", "enum"})
_WRITES = ("destination", "output_to_file", "output_file", "output_to")
"""Keys that name a file which a step writes."""
_LIMITS = ("max_total_steps", "max_memory_mb", "max_nesting_depth", "max_disk_mb")


def root_pipeline(
    data: Mapping[str, Json], at: Path, name: str, notes: Notes, folder: FilePath | None, *, test_steps: bool
) -> Placed:
    """The pipeline of a document; `name` is what it is called here."""
    root = Reader(data, at, notes, ROOT)
    book = Book(notes, folder, test_steps, _defaults(root), workspace=_workspace(data))
    made, place = _pipeline(root, book, {}, Place(book, Names()))
    said = root.text("name")
    if said is not None and said != name:
        notes.add(root.path("name"), f"the pipeline {said!r} is called {name!r} here, as its file is")
    limits = root.inside("resource_limits", said=ROOT)
    budget = {
        "usd": limits.number("max_cost_usd"),
        "tokens": limits.whole("max_tokens_total"),
        "seconds": limits.number("max_execution_time_s", "max_execution_time_seconds"),
    }
    limits.say("not used; `budget` and `limits: {threads}` bound a run", *_LIMITS)
    limits.close()
    outputs = root.value("outputs", "output")
    path = root.path("outputs", "output")
    if isinstance(outputs, dict):
        made["outputs"] = {own_name(str(key)): place.tree(value, (*path, key)) for key, value in outputs.items()}
    elif isinstance(outputs, str | list):
        made["outputs"] = {"result": place.tree(outputs, path)}
    head = {"name": name, "description": root.text("description"), "version": root.value("version")}
    root.close()
    spent = {key: value for key, value in budget.items() if value is not None}
    order = {"inputs": made.get("inputs"), "model": None, "budget": spent or None}
    return Placed(at, {**head, **order, "steps": made["steps"], "outputs": made.get("outputs")}, made.origins)


def child_pipeline(
    data: Mapping[str, Json], at: Path, parent: Place, handed: Mapping[str, str]
) -> tuple[Placed, Place]:
    """A pipeline inside a step; what it is handed, by name and type, becomes its inputs."""
    inner = data.get("workflow")
    if isinstance(inner, dict):
        data, at = inner, (*at, "workflow")
    root = Reader(data, at, parent.notes, ROOT)
    own = parent.book
    defaults = _defaults(root) if root.has("defaults") else own.defaults
    book = Book(
        own.notes,
        own.folder,
        own.test_steps,
        defaults,
        written=own.written,
        workspace=_workspace(data) or own.workspace,
    )
    made, place = _pipeline(root, book, handed, Place(book, Names()))
    for name, declared in book.inputs.items():
        if name not in handed and "default" not in declared:
            parent.book.need(name, at, str(declared["type"]))
            made.origins[name] = at
    root.ignore("version")
    fields = {"name": own_name(root.text("name") or "child"), "description": root.text("description"), **made}
    root.close()
    return Placed(at, fields, made.origins), place


def _pipeline(root: Reader, book: Book, handed: Mapping[str, str], place: Place) -> tuple[Placed, Place]:
    """Inputs and steps of a pipeline, a child or not."""
    raw = root.value("steps")
    if not isinstance(raw, list) or not raw:
        root.notes.refuse(root.path("steps"), "the pipeline has no steps", "Write steps: and a list.")
        raw = []
    book.functions = {key: value for key, value in root.map("gemini_functions").items() if isinstance(value, dict)}
    book.wanted = wanted_fields(raw)
    book.written = book.written | {book.inside(name) or name for name in _written(raw)}
    _declare(root, book)
    inside = {name: f"{name}.value" for name, kind in handed.items() if kind == ANY and name not in book.inputs}
    for name, kind in handed.items():
        book.need(name, root.at, "object" if kind == ANY else kind)
    variables = _variables(root, place)
    inputs = frozenset({*book.inputs, *inside.values()})
    names = replace(place.names, inputs=inputs, renamed=inside, vars=frozenset({*variables, *_assigned(raw)}))
    place = replace(place, names=names)
    steps, place = Translator(child_pipeline).steps(raw, (*root.at, "steps"), place)
    steps = _before(steps, variables, book, root)
    return Placed(root.at, {"inputs": book.inputs or None, "steps": steps}), place


def _before(steps: list[Placed], variables: Mapping[str, Json], book: Book, root: Reader) -> list[Placed]:
    """The steps with those that stand before the first: initial variables, the list of source files."""
    first: list[Placed] = []
    if book.lists_source:
        said = f"{SOURCE_FILES} are the source files that git tracks below the input `repo`"
        root.notes.add(root.path("steps"), said, key=SOURCE_FILES)
        verb = {"root": book.repo(root.at), "git": "tracked", "include": [f"**/*.{suffix}" for suffix in _SOURCE]}
        first.append(Placed(root.at, {"name": SOURCE_FILES, "type": "files", "list": verb}))
    if variables:
        where = root.path("variables", "vars", "global_vars")
        name = free("variables", {step["name"] for step in steps})
        first.append(Placed(where, {"name": name, "type": "set", "vars": dict(variables)}))
    if first and steps:
        steps[0].first("needs", [first[-1]["name"]])
    for earlier, step in pairwise(first):
        step.first("needs", [earlier["name"]])
    return [*first, *steps]


def _variables(root: Reader, place: Place) -> dict[str, Json]:
    """Initial values of variables."""
    found: dict[str, Json] = {}
    for key in ("global_vars", "variables", "vars"):
        for name, value in root.map(key).items():
            found[own_name(name)] = place.tree(value, (*root.at, key, name))
    return found


def _assigned(raw: Json) -> set[str]:
    """Variables that steps at any depth set."""
    found: set[str] = set()
    for value in raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ():
        found |= _assigned(value)
    if isinstance(raw, dict) and raw.get("type") == "set_variable":
        variables = raw.get("variables")
        found |= {own_name(str(name)) for name in (variables if isinstance(variables, dict) else ())}
        found |= {own_name(str(raw["variable"]))} if raw.get("variable") is not None else set()
    return found


def _declare(root: Reader, book: Book) -> None:
    """Declared inputs: a default each, or a map that says more."""
    declared = root.map("inputs", "input")
    at = root.path("inputs", "input")
    for name, value in declared.items():
        path = (*at, name)
        if not isinstance(value, dict) or not value or not set(value) <= _INPUT_KEYS:
            book.need(own_name(name), path, TYPES.get(type(value), "string"), default=value)
            continue
        default = value.get("default")
        kind = _WORDS.get(str(value.get("type", "")).lower()) or TYPES.get(type(default), "string")
        book.need(own_name(name), path, kind)
        made = book.inputs[own_name(name)]
        if "default" in value or value.get("required") is False:
            made["default"] = default
        made.update({key: value[key] for key in ("description", "enum") if value.get(key) is not None})


def _defaults(root: Reader) -> Defaults:
    """What the root says for every step."""
    given = root.inside("defaults", said=DEFAULTS)
    environment = root.inside("environment", said=ENVIRONMENT)
    options = given.inside("claude_options", said=OPTIONS)
    budget = given.inside("gemini_token_budget", said=BUDGET)
    given.say("not needed: failed calls are tried again three times as it is", "retry_on_error")
    goes_on = given.flag("continue_on_error")
    found = Defaults(
        options=options.data,
        preset=given.text("claude_preset"),
        gemini_model=given.text("gemini_model"),
        gemini_budget=budget.data,
        output_dir=given.text("output_dir") or root.text("output_dir"),
        claude_model=given.text("claude_model"),
        fallback_model=given.text("claude_fallback_model"),
        timeout_s=given.number("timeout_seconds"),
        continue_on_error=bool(root.flag("continue_on_error") if goes_on is None else goes_on),
        mode=environment.text("mode"),
    )
    _used(options, "model", "fallback_model", "max_turns", "allowed_tools", "disallowed_tools", "system_prompt")
    _used(options, "append_system_prompt", "temperature", "max_tokens", "max_output_tokens", "retry_config")
    _used(options, "timeout_ms", "timeout_seconds", "timeout_s", "timeout")
    _used(budget, "max_output_tokens", "max_tokens", "temperature")
    given.close()
    environment.close()
    return found


def _used(reader: Reader, *names: str) -> None:
    reader.ignore(*names)


def _workspace(data: Mapping[str, Json]) -> str:
    """The folder that a document calls its workspace; empty where it names none."""
    named = data.get("workspace_dir")
    return named.removeprefix("./").rstrip("/") if isinstance(named, str) else ""


def _written(raw: Json) -> frozenset[str]:
    """Files that steps at any depth write, and the folders that they write into."""
    found: set[str] = set()
    for value in raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ():
        found |= _written(value)
    if isinstance(raw, dict):
        keys: tuple[Any, ...] = tuple(raw.get(key) for key in _WRITES)
        keys += (raw.get("path"),) if raw.get("operation") in ("write", "append") else ()
        found |= {str(key).removeprefix("./").rstrip("/") for key in keys if isinstance(key, str) and key}
    return frozenset(found)
