"""The only door to YAML: safe, YAML 1.2 scalars, positions kept, bombs refused."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from elexirion_dagster.errors import PipelineError, Problem
from elexirion_dagster.records import Json

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 60
_MAX_PROBLEMS = 20
_MAX_NUMBER_DIGITS = 100
_CHARS_PER_NODE = 1_000  # a long text counts as several nodes, so that aliases of it are bounded too

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = (
    yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader  # PyYAML built from source may lack libyaml
)
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_BAD_IN_TEXT = re.compile("[\x00\ud800-\udfff]")
_NULL = re.compile(r"null|Null|NULL|~|", re.ASCII)
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE", re.ASCII)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|(?:0|[1-9][0-9_]*)[eE][-+]?[0-9]+)",
    re.ASCII,
)

_QUOTE = "Put the text in quotes."
_REWORDED: tuple[tuple[str, str, str], ...] = (
    ("cannot start any token", "this character cannot start a value", "Indent with spaces, and quote such text."),
    ("mapping values are not allowed", "a ':' stands where no key can be", "Quote the text, or mend the indentation."),
    ("could not find expected ':'", "a key without its ':'", "Write `key: value`, or indent the text under its key."),
    ("expected <block end>", "this line does not fit what is above it", "Mend the indentation; quote unusual text."),
    ("did not find expected key", "this line does not fit what is above it", "Mend the indentation; quote odd text."),
    ("did not find expected '-' indicator", "a list entry was expected", "Start it with '-', or mend the indentation."),
    ("expected <document start>", "text stands after the end of the document", "Mend the indentation or quotes above."),
    ("expected ',' or", "a bracket or brace is not closed, or a comma is missing", "Close it; quote unusual text."),
    ("unexpected end of stream", "a quote is opened and never closed", "Close it with the same kind of quote."),
    ("undefined alias", "a word that starts with '*' names an anchor that does not exist", _QUOTE),
    ("alphabetic or numeric character", "a word that starts with '*' or '&' is read as an alias or anchor", _QUOTE),
    ("found unknown escape character", "an unknown escape in a double-quoted text", "Use single quotes, or \\\\."),
)

_Path = tuple[str | int, ...]
_Event = Any  # PyYAML's event classes; its stubs leave their attributes out


@dataclass(frozen=True)
class Document:
    """A loaded document; `positions` maps a path to the 1-based line and column of its key or list entry."""

    data: Json
    file: str | None
    text: str
    positions: Mapping[tuple[str | int, ...], tuple[int, int]]

    def position(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Line and column of the path's nearest known ancestor; (1, 1) for the root."""
        for length in range(len(path), 0, -1):
            found = self.positions.get(tuple(path[:length]))
            if found is not None:
                return found
        return (1, 1)

    def problem(self, message: str, path: Sequence[str | int] = (), mend: str | None = None) -> Problem:
        """Build a problem of this document at `path`."""
        line, column = self.position(path)
        return Problem(message, self.file, line, column, mend)


def load_text(text: str, *, file: str | None = None) -> Document:
    """Read one YAML document. Raises PipelineError whose problems carry file, line and column."""
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        _refuse(f"the document has {len(text):,} characters, at most {MAX_BYTES:,} are read", file)
    bad = _UNPRINTABLE.search(text)
    if bad:
        line, column = _place(text, bad.start())
        mend = "Write it as an escape in a double-quoted text, or remove it."
        _refuse(f"the control character U+{ord(bad.group()):04X} is not allowed", file, line, column, mend=mend)
    return _Builder(file, text).document()


def load_file(path: Path) -> Document:
    """Read one YAML file of at most 1 MB in UTF-8. Raises PipelineError, also when it cannot be read."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PipelineError([Problem(f"cannot read the file: {reason}", file, mend="Check the path.")]) from error
    if len(content) > MAX_BYTES:
        _refuse(f"the file is larger than {MAX_BYTES:,} bytes", file)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line, column = _place(content[: error.start].decode(), error.start)
        problem = Problem("the file is not UTF-8 text", file, line, column, "Save it as UTF-8.")
        raise PipelineError([problem]) from error
    return load_text(text, file=file)


def dump(data: Json) -> str:
    """JSON as YAML that `load_text` reads back: block style, multi-line texts as `|`, keys in the given order."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False, width=1_000_000
    )
    return text.removesuffix("...\n")


def _refuse(message: str, file: str | None, line: int = 1, column: int = 1, *, mend: str | None = None) -> NoReturn:
    raise PipelineError([Problem(message, file, line, column, mend)])


def _place(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


@dataclass(frozen=True)
class _Anchor:
    """What an alias stands for: the value, how many nodes it expands to and how deep it is."""

    data: Json
    nodes: int
    height: int


@dataclass
class _Builder:
    """Turns PyYAML's events into JSON; nothing is constructed from tags, so nothing can be executed."""

    file: str | None
    text: str
    positions: dict[_Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, _Anchor | None] = field(default_factory=dict)
    nodes: int = 0
    height: int = 0

    def document(self) -> Document:
        with self._reworded():
            loader = _LOADER(self.text)
            try:
                self.next: Callable[[], _Event] = loader.get_event
                data = self._stream()
            finally:
                loader.dispose()
        if self.problems:
            raise PipelineError(self.problems)
        return Document(data, self.file, self.text, self.positions)

    def _stream(self) -> Json:
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            _refuse("the document is empty", self.file, mend="Write at least `name:` and `steps:`.")
        data = self._node(self.next(), (), 0)
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._stop(event, "a second document starts here", "One file holds one document; remove the '---'.")
        return data

    def _node(self, event: _Event, path: _Path, depth: int) -> Json:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._count(event, 1, depth)
        if getattr(event, "tag", None) is not None:
            self._note(event, f"the tag {event.tag} is not allowed", "Remove the tag; quote a text that is a number.")
        anchor, nodes_before = event.anchor, self.nodes - 1
        outer, self.height = self.height, depth
        if anchor is not None:
            self.anchors[anchor] = None
        data = self._value(event, path, depth)
        if anchor is not None:
            self.anchors[anchor] = _Anchor(data, self.nodes - nodes_before, self.height - depth)
        self.height = max(outer, self.height)
        return data

    def _value(self, event: _Event, path: _Path, depth: int) -> Json:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth + 1)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth + 1)
        self._count(event, len(event.value) // _CHARS_PER_NODE, depth)
        return self._scalar(event)

    def _sequence(self, path: _Path, depth: int) -> list[Json]:
        items: list[Json] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.positions[here] = _mark(event)
            items.append(self._node(event, here, depth))
        return items

    def _mapping(self, path: _Path, depth: int) -> dict[str, Json]:
        entries: dict[str, Json] = {}
        merged: dict[str, Json] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self._key(event, path, depth)
            here = (*path, key)
            if key in entries or (key == "<<" and merged):
                line = self.positions[here][0]
                self._note(event, f"the key '{key}' stands here a second time (first in line {line})", "Keep one.")
            self.positions.setdefault(here, _mark(event))
            value = self._node(self.next(), here, depth)
            if key == "<<" and event.implicit[0]:
                merged |= self._merge(event, value)
            else:
                entries[key] = value
        return entries | {key: value for key, value in merged.items() if key not in entries}

    def _key(self, event: _Event, path: _Path, depth: int) -> str:
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._stop(event, "a key must be a text", 'A template in braces needs quotes: "{{ … }}".')
        key = self._node(event, path, depth)
        if not isinstance(key, str):
            self._note(
                event, f"the key {key!r} is not a text", f'Write it in quotes: "{getattr(event, "value", key)}".'
            )
        return str(key)

    def _merge(self, event: _Event, value: Json) -> dict[str, Json]:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._stop(event, "'<<' merges mappings only", "Name an anchor of a mapping: `<<: *defaults`.")
        return {key: item for source in reversed(sources) for key, item in source.items()}

    def _scalar(self, event: _Event) -> Json:
        text: str = event.value
        bad = _BAD_IN_TEXT.search(text)
        if bad:
            self._stop(event, f"a text holds U+{ord(bad.group()):04X}, which no program can take", "Remove it.")
        if not event.implicit[0]:
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text[0] in "tT"
        if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
            return self._number(event, text.replace("_", ""))
        return text

    def _number(self, event: _Event, digits: str) -> int | float:
        if len(digits) > _MAX_NUMBER_DIGITS:
            self._stop(event, f"a number of {len(digits):,} digits", _QUOTE)
        if _INT.fullmatch(digits):
            return int(digits, 0)
        number = float(digits)
        if math.isinf(number):
            self._note(event, f"the number {digits} is too large", _QUOTE)
        return number

    def _alias(self, event: _Event, depth: int) -> Json:
        anchor = self.anchors.get(event.anchor, _MISSING)
        if anchor is _MISSING:
            self._stop(event, f"'*{event.anchor}' names an anchor that does not exist", _QUOTE)
        if anchor is None:
            self._stop(event, f"'*{event.anchor}' stands inside its own anchor", "Write the value out.")
        self._count(event, anchor.nodes, depth + anchor.height)
        self.height = max(self.height, depth + anchor.height)
        return _copy(anchor.data)

    def _count(self, event: _Event, nodes: int, depth: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._stop(event, f"the document expands to more than {MAX_NODES:,} values", "Split it; use fewer aliases.")
        if depth > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels", "Flatten the document.")

    def _note(self, event: _Event, message: str, mend: str) -> None:
        self.problems.append(Problem(message, self.file, *_mark(event), mend))
        if len(self.problems) >= _MAX_PROBLEMS:
            raise PipelineError(self.problems)

    def _stop(self, event: _Event, message: str, mend: str) -> NoReturn:
        raise PipelineError([*self.problems, Problem(message, self.file, *_mark(event), mend)])

    @contextmanager
    def _reworded(self) -> Iterator[None]:
        try:
            yield
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            said = str(getattr(error, "problem", None) or error)
            message, mend = self._wording(said, line, column)
            raise PipelineError([*self.problems, Problem(message, self.file, line, column, mend)]) from error

    def _wording(self, said: str, line: int, column: int) -> tuple[str, str | None]:
        lines = self.text.split("\n")
        head = lines[line - 1][:column] if line <= len(lines) else ""
        if "\t" in head and not head.strip():
            return "a tab is used for indentation", "Indent with spaces."
        for sign, message, mend in _REWORDED:
            if sign in said:
                return f"{message} ({said})", mend
        return f"not valid YAML: {said}", None


_MISSING = _Anchor(None, 0, 0)


def _mark(event: _Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _copy(data: Json) -> Json:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


class _Dumper(yaml.SafeDumper):
    """Writes what `load_text` reads: quotes exactly the texts that would be read as something else."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's signature
        return super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if re.search("[\x85\u2028\u2029]", text):
        style = '"'
    elif "\n" in text and text.strip() and not re.search("[\ufeff\t\x00-\x08\x0b-\x1f]|^[ \n]", text):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_MERGE = re.compile("<<")
for _tag, _pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT), ("merge", _MERGE)):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern.pattern})$"), None)
