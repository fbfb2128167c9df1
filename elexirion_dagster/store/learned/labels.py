"""Files of labelled rows: JSON lines, YAML or CSV, each row with what would be right."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from elexirion_dagster.errors import InputError, PipelineError, unreadable
from elexirion_dagster.records import Json
from elexirion_dagster.store.learned.learning import Row, group_of, row_key
from elexirion_dagster.yamlio import load_text

_MAX_BYTES = 64_000_000
_MAX_ROWS = 100_000
_KEYS = ("inputs", "expected", "must_pass", "group")
_ROW = 'A row is {"inputs": {"inputs.message": "…"}, "expected": …}, with must_pass and group where wanted.'
_WORDS: Mapping[str, bool] = {"true": True, "false": False, "": False}

_Numbered = tuple[int, Json]
_Check = Callable[[Json], Sequence[str]]


def labelled(
    file: Path, pipeline: str, step: str, *, paths: Sequence[str] = (), check: _Check | None = None
) -> tuple[Row, ...]:
    """The rows of a file in its order. Raises InputError with `file:line` for the first that is wrong.

    `paths` are the inputs that the slot's template refers to (`SlotSpec.inputs`): every row must have them, written
    `{file.text: …}` or nested, and only they are kept; `inputs.` may be left out. `check` says what is wrong with an
    expected answer.
    """
    text = read_text(file, most_bytes=_MAX_BYTES)
    match file.suffix.lower():
        case ".jsonl":
            found: Iterator[_Numbered] = _json_lines(text, file)
        case ".yaml" | ".yml":
            found = _yaml(text, file)
        case ".csv":
            found = _csv(text, file, check)
        case other:
            raise InputError(
                f"{file}: {other or 'no suffix'} is no kind of labelled file", mend="Use .jsonl, .yaml or .csv."
            )
    reading = _Reading(file, pipeline, step, tuple(paths), check)
    rows = tuple(reading.row(line, value) for line, value in found)
    if not rows:
        raise InputError(f"{file} holds no rows", mend=_ROW)
    if len(rows) > _MAX_ROWS:
        raise InputError(f"{file} holds {len(rows)} rows, at most {_MAX_ROWS} are taken", mend="Leave some out.")
    return rows


def read_text(file: Path, *, most_bytes: int) -> str:
    """What a file written by hand says. Raises InputError that names the file, and the line of odd bytes."""
    try:
        with file.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise InputError(f"{file} {unreadable(error)}", mend="Name an existing file.") from error
    if len(data) > most_bytes:
        raise InputError(f"{file} is larger than {most_bytes:,} bytes", mend="Leave out what is not needed.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _wrong(file, data.count(b"\n", 0, error.start) + 1, "this is not UTF-8", "Save the file as UTF-8.")


def _wrong(file: Path, line: int, message: str, mend: str | None = _ROW) -> NoReturn:
    raise InputError(f"{file}:{line}: {message}", mend=mend)


def _json_lines(text: str, file: Path) -> Iterator[_Numbered]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                _wrong(file, number, f"this is no JSON: {said}", "Every line is one JSON object.")


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _yaml(text: str, file: Path) -> Iterator[_Numbered]:
    try:
        document = load_text(text, file=str(file))
    except PipelineError as error:
        raise InputError(str(error)) from error
    if not isinstance(document.data, list):
        _wrong(file, 1, "expected a list of rows")
    for index, value in enumerate(document.data):
        yield document.position((index,))[0], value


def _csv(text: str, file: Path, check: _Check | None) -> Iterator[_Numbered]:
    """Columns are `expected` or `expected.<field>`, `must_pass`, `group`; every other is the path of an input."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = [name.strip() for name in cells]
                if len(set(header)) < len(header) or "" in header:
                    _wrong(file, 1, "every column has a name of its own", None)
                if "expected" in header and any(name.startswith("expected.") for name in header):
                    _wrong(file, 1, "expected stands beside columns of its fields", "Keep the one or the others.")
            elif cells:
                if len(cells) != len(header):
                    _wrong(
                        file, line, f"expected {len(header)} cells, came {len(cells)}", "Quote cells that hold commas."
                    )
                yield line, _of_cells(dict(zip(header, cells, strict=True)), check)
            line = reader.line_num + 1
    except csv.Error as error:
        _wrong(file, reader.line_num, f"this is no CSV: {error}", "Quote cells, and double the quotes inside them.")


def _of_cells(cells: Mapping[str, str], check: _Check | None) -> dict[str, Json]:
    fields = {name.partition(".")[2]: cell for name, cell in cells.items() if name.startswith("expected.")}
    row: dict[str, Json] = {"group": cells["group"]} if cells.get("group") else {}
    if "must_pass" in cells:
        row["must_pass"] = _WORDS.get(cells["must_pass"].strip().lower(), cells["must_pass"])
    if fields:
        row["expected"] = _read(fields, check)
    elif cells.get("expected"):
        row["expected"] = _read({"": cells["expected"]}, check and (lambda one: check(one[""])))[""]
    taken = {"group", "must_pass", "expected"}
    row["inputs"] = {
        name: cell for name, cell in cells.items() if name not in taken and not name.startswith("expected.")
    }
    return row


def _read(cells: Mapping[str, str], check: _Check | None) -> dict[str, Json]:
    """The cells as what they read as; one that fits better as text stays text."""
    answer = {name: _typed(cell) for name, cell in cells.items()}
    wrong = len(check(answer)) if check is not None else 0
    for name, cell in cells.items():
        if check is None or not wrong:
            break
        fewer = len(check({**answer, name: cell}))
        if fewer < wrong:
            answer[name], wrong = cell, fewer
    return answer


def _typed(cell: str) -> Json:
    """A cell as the number, list, map, true, false or null that it reads as, else as text."""
    try:
        value = json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell
    return cell if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class _Reading:
    """One file while its rows are read."""

    file: Path
    pipeline: str
    step: str
    paths: tuple[str, ...]
    check: _Check | None

    def row(self, line: int, value: Json) -> Row:
        """A row, or the error that says what is wrong with it."""
        if not isinstance(value, dict):
            _wrong(self.file, line, f"expected a map, came {_short(value)}")
        for key in value:
            if key not in _KEYS:
                close = get_close_matches(str(key), _KEYS, n=1)
                _wrong(self.file, line, f"unknown key {key!r}", f"Did you mean {close[0]!r}?" if close else _ROW)
        inputs = self._inputs(line, value.get("inputs"))
        key = row_key(self.pipeline, self.step, inputs)
        group, must_pass = value.get("group"), value.get("must_pass", False)
        if group is not None and not isinstance(group, str):
            _wrong(self.file, line, f"group must be a text, came {_short(group)}")
        if not isinstance(must_pass, bool):
            _wrong(self.file, line, f"must_pass must be true or false, came {_short(must_pass)}")
        return Row(
            key=key,
            inputs=inputs,
            answer=None,
            expected=self._expected(line, value.get("expected")),
            score=None,
            comment=None,
            source="label",
            group=group or group_of(key, inputs),
            must_pass=must_pass,
        )

    def _expected(self, line: int, expected: Json) -> Json:
        if expected is None:
            _wrong(self.file, line, "the row does not say what is expected")
        problems = self.check(expected) if self.check is not None else ()
        if problems:
            _wrong(self.file, line, f"expected does not fit the output of {self.step}: {'; '.join(problems)}", None)
        return expected

    def _inputs(self, line: int, given: Json) -> dict[str, Json]:
        if not isinstance(given, dict) or not given:
            _wrong(self.file, line, f"inputs must be a map with the values of the prompt, came {_short(given)}")
        if not self.paths:
            return dict(_flat(given))
        found = {}
        for path in self.paths:
            values = [
                *_at(given, path),
                *(_at(given, path.removeprefix("inputs.")) if path.startswith("inputs.") else ()),
            ]
            if not values:
                close = get_close_matches(path, [name for name, _ in _flat(given)], n=1)
                mend = f"It has {close[0]!r}." if close else f"The prompt of {self.step} uses {', '.join(self.paths)}."
                _wrong(self.file, line, f"inputs lacks {path}", mend)
            found[path] = values[0]
        return found


def _flat(given: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, Json]]:
    """The values by dotted path, maps opened to their leaves."""
    for name, value in given.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _at(given: Mapping[str, Json], path: str) -> Iterator[Json]:
    """What stands at a dotted path, whose parts may be joined in one key."""
    if path in given:
        yield given[path]
    parts = path.split(".")
    for at in range(1, len(parts)):
        inner = given.get(".".join(parts[:at]))
        if isinstance(inner, dict):
            yield from _at(inner, ".".join(parts[at:]))


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - as wide as a terminal's half
