"""file_ops becomes `files`, codebase_query becomes `query`."""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.naming import slug
from elexirion_dagster.dialects.pipeline_ex.paths import readable
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import STEP
from elexirion_dagster.dialects.pipeline_ex.steps.frame import condition, native
from elexirion_dagster.records import Json

_FORMATS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {f"{one}_to_{other}": (one, other) for one in ("csv", "json", "yaml") for other in ("csv", "json", "yaml")}
)
_PROCESSED: Mapping[str, str] = MappingProxyType(
    {"identity": "", "uppercase": " | upper", "lowercase": " | lower", "trim": " | trim"}
)
_LANGUAGES = frozenset({"python", "javascript", "typescript", "go", "rust", "elixir"})
_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "find_functions": ("function", "method"),
        "find_classes": ("class",),
        "find_modules": ("module",),
        "find_interfaces": ("interface",),
    }
)
_NOT_ASKED = "not used; a query has name, contains, include, exclude, languages"
_QUERY: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        (
            *("type", "exclude_tests", "related_to", "modified_since", "size_min", "size_max", "include_transitive"),
            *("include_tests", "types", "max_results", "public_only", "with_annotation", "with_decorator"),
        ),
        _NOT_ASKED,
    )
)


def file_ops(step: Reader, name: str, place: Place) -> list[Placed]:
    """The verb of its operation; what is written stays in the run's workspace."""
    word = step.text("operation") or ""
    verbs: Mapping[str, Callable[[Reader, str, Place], list[Placed]]] = {
        **dict.fromkeys(("copy", "stream_copy"), _copy),
        "move": _move,
        "delete": _delete,
        "validate": _validate,
        "list": _list,
        "convert": _convert,
        "stream_process": _process,
        **dict.fromkeys(("write", "append"), _write),
        "read": _read,
        "wait": _wait,
    }
    if word not in verbs:
        step.notes.refuse(step.path("operation"), f"unknown operation {word!r}", f"Operations: {', '.join(verbs)}.")
        return []
    return verbs[word](step, name, place)


def _copy(step: Reader, name: str, place: Place) -> list[Placed]:
    many = step.items("source")
    made = []
    for index, source in enumerate(many or [""]):
        target = _inside(step, place, "destination")
        if len(many) > 1:
            target = f"{target.rstrip('/')}/{str(source).rpartition('/')[2]}"
        verb = {"from": _origin(str(source), step, place), "to": target}
        made.append(native(step, name if index == 0 else place.book.fresh(name), "files", {"copy": verb}, place))
    return made


def _move(step: Reader, name: str, place: Place) -> list[Placed]:
    verb = {"from": _inside(step, place, "source"), "to": _inside(step, place, "destination")}
    return [native(step, name, "files", {"move": verb}, place)]


def _delete(step: Reader, name: str, place: Place) -> list[Placed]:
    verb = {"path": _inside(step, place, "path", "source"), "recursive": True}
    return [native(step, name, "files", {"delete": verb}, place)]


def _list(step: Reader, name: str, place: Place) -> list[Placed]:
    root = step.text("path", "source") or "."
    pattern = step.text("pattern")
    deep = step.flag("recursive")
    include = None
    if pattern and re.fullmatch(r"[\w.*?{},/\-\[\]]+", pattern) and not re.search(r"\.\*|\\|\$", pattern):
        include = [pattern if "/" in pattern or not deep else f"**/{pattern}"]
    elif pattern:
        simple = re.fullmatch(r"\.?\*?(?:\\\.(\w+))\$?", pattern)
        include = [f"*.{simple[1]}"] if simple else None
        said = f"a regular expression is no glob pattern; files are listed as {include[0] if include else '*'}"
        step.notes.add(step.path("pattern"), said)
    verb: dict[str, Json] = {"root": _origin(root, step, place), "git": None}
    return [native(step, name, "files", {"list": {**verb, **({"include": include} if include else {})}}, place)]


def _convert(step: Reader, name: str, place: Place) -> list[Placed]:
    word = step.text("format", "conversion") or ""
    verb = {"from": _origin(step.text("source") or "", step, place), "to": _inside(step, place, "destination")}
    if word in _FORMATS:
        verb |= {"from_format": _FORMATS[word][0], "to_format": _FORMATS[word][1]}
    elif word:
        step.notes.refuse(step.path("format"), f"{word!r} cannot be converted", f"Formats: {', '.join(_FORMATS)}.")
    return [native(step, name, "files", {"convert": verb}, place)]


def _validate(step: Reader, name: str, place: Place) -> list[Placed]:
    made = []
    entries = step.items("files") or [{"path": step.value("path")}]
    for index, entry in enumerate(entries):
        path = (*step.path("files"), index)
        reader = Reader(entry if isinstance(entry, dict) else {"path": entry}, path, place.notes, {})
        verb = _checks(reader, step, place)
        reader.close()
        made.append(native(step, name if index == 0 else place.book.fresh(name), "files", {"validate": verb}, place))
    return made


def _checks(entry: Reader, step: Reader, place: Place) -> dict[str, Json]:
    kind = "file" if entry.flag("must_be_file") else "folder" if entry.flag("must_be_dir") else None
    entry.say("not needed: a file that cannot be read fails the check", "must_be_readable", "must_be_writable")
    found = {
        "path": _origin(entry.text("path") or "", step, place),
        "exists": entry.flag("must_exist") is not False,
        "kind": kind,
        "min_bytes": entry.whole("min_size"),
        "max_bytes": entry.whole("max_size"),
        "contains": entry.text("must_contain"),
        "format": "json" if entry.flag("validate_json") else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _process(step: Reader, name: str, place: Place) -> list[Placed]:
    source = step.text("source") or ""
    processor = step.value("processor")
    word = processor if isinstance(processor, str) else "replace" if isinstance(processor, dict) else "identity"
    shown = _PROCESSED.get(word)
    if isinstance(processor, dict) or word == "replace":
        options = processor if isinstance(processor, dict) else step.data
        step.ignore("pattern", "replacement")
        old, new = str(options.get("pattern", "")), str(options.get("replacement", ""))
        shown = f" | replace({old!r}, {new!r})"
    if shown is None:
        step.notes.refuse(step.path("processor"), f"unknown processor {word!r}", f"Known: {', '.join(_PROCESSED)}.")
    read = place.book.fresh(f"{name}_file")
    target = _inside(step, place, "destination") if step.has("destination") else source.rpartition("/")[2]
    if not step.has("destination"):
        said = f"the file itself is not changed; the outcome is {target} in the run's workspace"
        step.notes.add(step.path("source"), said)
    before = {"name": read, "type": "files", "when": condition(step, place)}
    verb = {"path": target, "text": f"{{{{ steps.{read}.text{shown or ''} }}}}"}
    first = Placed(step.at, {**before, "read": {"path": _origin(source, step, place)}})
    return [first, native(step, name, "files", {"write": verb}, place)]


def _write(step: Reader, name: str, place: Place) -> list[Placed]:
    if step.text("operation") == "append":
        step.say("a file is written anew; put what it held before into the text", "operation")
    content = step.value("content", "text", "data")
    text = place.tree(content, step.path("content", "text", "data"))
    verb = {"path": _inside(step, place, "path", "destination"), "text": text if isinstance(text, str) else str(text)}
    return [native(step, name, "files", {"write": verb}, place)]


def _read(step: Reader, name: str, place: Place) -> list[Placed]:
    verb = {"path": _origin(step.text("path", "source") or "", step, place)}
    return [native(step, name, "files", {"read": verb}, place)]


def _wait(step: Reader, name: str, place: Place) -> list[Placed]:
    pause = step.number("duration_seconds", "duration") or 1
    return [native(step, name, "command", {"run": ["sleep", str(pause)]}, place)]


def _inside(step: Reader, place: Place, *names: str) -> str:
    """A place in the run's workspace."""
    text = place.text(step.text(*names) or "", step.path(*names))
    if not text:
        step.notes.refuse(step.at, f"the operation needs {names[0]}", f"Write {names[0]}: and a path.")
    if (below := place.book.inside(text)) is not None:
        return below
    if text.startswith("/") or ".." in text.split("/"):
        inside = "/".join(part for part in text.split("/") if part not in ("", ".", ".."))
        step.notes.add(step.path(*names), f"files are written in the run's workspace only, so {text} is {inside} there")
        return inside
    return text.removeprefix("./")


def _origin(text: str, step: Reader, place: Place) -> str:
    """A file that an earlier step writes is looked for in the workspace, any other is a `path` input."""
    plain = text.removeprefix("./")
    if not plain:
        step.notes.refuse(step.at, "the operation names no file", "Write source: or path:.")
        return "?"
    made = place.book.made(plain)
    if plain == "." or made:
        return place.text(made or plain, step.at)
    return readable(text, step.path("source", "path", "files"), place)


def codebase_query(step: Reader, name: str, place: Place) -> list[Placed]:
    """One query step for each question."""
    queries = step.map("queries")
    root = step.text("workspace_dir", "root")
    folder = readable(root, step.path("workspace_dir", "root"), place) if root else place.book.repo(step.at)
    made = []
    for key, query in queries.items():
        at = (*step.path("queries"), key)
        words = list(query.items()) if isinstance(query, dict) else [(str(query), {})]
        for word, arguments in words:
            merged = arguments if isinstance(arguments, dict) else _merged(arguments)
            reader = Reader(merged, (*at, word), place.notes, _QUERY)
            fields = {"root": folder, **_question(word, reader, place)}
            reader.close()
            own = name if len(queries) == 1 else place.book.fresh(f"{name}_{slug(key)}")
            made.append(native(Reader(step.data, step.at, step.notes, STEP), own, "query", fields, place))
    step.ignore(*step.data)
    if not made:
        step.notes.refuse(step.at, f"the step {name!r} has no queries", "Write queries: and what is asked.")
    if len(made) > 1:
        answers = {slug(key): f"{{{{ steps.{one['name']}.data }}}}" for key, one in zip(queries, made, strict=False)}
        made.append(Placed(step.at, {"name": name, "type": "set", "vars": answers}))
    return made


def _merged(arguments: Json) -> dict[str, Json]:
    entries: Iterable[Any] = arguments if isinstance(arguments, list) else []
    return {str(key): value for entry in entries if isinstance(entry, dict) for key, value in entry.items()}


def _question(word: str, query: Reader, place: Place) -> dict[str, Json]:
    language = query.text("language")
    extension, pattern = query.text("extension"), query.text("pattern", "name")
    of = query.value("for_file", "file", "in_file", "files", "in_files")
    shown = place.tree(of, query.path("for_file", "file", "in_file", "files", "in_files"))
    common: dict[str, Json] = {"languages": [language]} if language in _LANGUAGES else {}
    if extension:
        common["include"] = [f"**/*.{extension.lstrip('.')}"]
    match word:
        case "find_files":
            found = {"name": pattern, "contains": query.text("contains")}
            return {**common, "files": {key: value for key, value in found.items() if value}}
        case "find_functions" | "find_classes" | "find_modules" | "find_interfaces":
            common |= {"include": shown if isinstance(shown, list) else [shown]} if shown else {}
            return {**common, "symbols": {**({"name": pattern} if pattern else {}), "kind": list(_KINDS[word])}}
        case "find_dependencies" | "find_imports":
            return {**common, "imports": {"of": shown} if shown else {}}
        case "find_dependents" | "find_references" | "find_related":
            return {**common, "dependents": {"of": shown}}
        case "analyze_impact":
            depth = query.whole("max_depth") or 3
            return {**common, "impact": {"of": shown, "max_depth": depth}}
    mend = "Known: find_files, find_functions, find_classes, find_dependencies, find_dependents, analyze_impact."
    query.notes.refuse(query.at, f"unknown query {word!r}", mend)
    return {**common, "files": {}}
