"""Data as JSON, YAML or CSV: bytes to values and back, nothing lost in silence."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NoReturn

from elexirion_dagster.errors import InputError, PipelineError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.files import DataFormat
from elexirion_dagster.yamlio import dump, load_text

_SUFFIXES: dict[str, DataFormat] = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv"}


def format_of(path: str, given: DataFormat | None, key: str) -> DataFormat:
    """The format that was given, else that of the suffix. Raises InputError where neither says it."""
    found = given or _SUFFIXES.get(PurePosixPath(path).suffix.lower())
    if found is None:
        raise InputError(f"{path!r} does not end in .json, .yaml, .yml or .csv", mend=f"Say {key}: json, yaml or csv.")
    return found


def parse_data(data: bytes, form: DataFormat) -> Json:
    """The value in a file. Raises InputError that says what is wrong and on which line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start + 1:,} is not UTF-8", mend="Save the file as UTF-8.") from error
    try:
        return {"json": _json, "yaml": _yaml, "csv": _csv}[form](text)
    except RecursionError as error:
        raise InputError("it is nested too deeply", mend="Use fewer levels.") from error


def format_data(value: Json, form: DataFormat) -> bytes:
    """The value as the bytes of a file; the same value gives the same bytes. Raises InputError where it cannot be."""
    try:
        match form:
            case "json":
                text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
            case "yaml":
                text = dump(value)
            case "csv":
                text = _as_csv(value)
        return text.encode()
    except RecursionError as error:
        raise InputError("it is nested too deeply", mend="Use fewer levels.") from error
    except UnicodeEncodeError as error:
        raise InputError("it holds half a surrogate pair, which is no text", mend="Mend the text.") from error


def _json(text: str) -> Json:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except ValueError as error:
        raise InputError(f"it is no JSON: {error}", mend="Mend the file.") from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    whole = dict(pairs)
    if len(whole) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if any(name == other for other, _ in pairs[:at]))
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return whole


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _yaml(text: str) -> Json:
    try:
        return load_text(text).data
    except PipelineError as error:
        raise InputError(f"it cannot be read as YAML: {error}", mend="Mend the file.") from error


def _csv(text: str) -> list[Json]:
    """Records with the first line's names; every cell is text, so that 007 and 1e5 stay what they are."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        if not names or len(set(names)) < len(names) or "" in names:
            raise InputError("the first line does not hold the columns' names, each once", mend="Add such a line.")
        return [_record(names, row, reader.line_num) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num:,} is no CSV: {error}", mend="Mend the file.") from error


def _record(names: Sequence[str], row: Sequence[str], line: int) -> Json:
    if len(row) != len(names):
        message = f"line {line:,} has {len(row)} cells, the first line {len(names)}"
        raise InputError(message, mend="Quote cells that hold a comma.")
    return dict(zip(names, row, strict=True))


def _as_csv(value: Json) -> str:
    """A table of records: columns in the order in which they first appear; null and what is missing are empty."""
    if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
        raise InputError("CSV holds a list of records, and this is none", mend="Write JSON or YAML, or reshape it.")
    names = list(dict.fromkeys(name for record in value for name in record))
    if not names or "" in names:
        raise InputError("CSV needs at least one column, and a name for each", mend="Write JSON or YAML.")
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(record.get(name), name) for name in names] for record in value)
    return out.getvalue()


def _cell(value: Json, name: str) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list() | dict():
            kind = "list" if isinstance(value, list) else "map"
            raise InputError(
                f"the column {name!r} holds a {kind}, and a cell holds one value", mend="Reshape it first."
            )
    return json.dumps(value)
