"""Their prompts, a text or a list of parts, as one template."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import own_name
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.paths import reads
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import PART
from elexirion_dagster.records import Json

_PARTS = ("static", "file", "previous_response", "session_context", "claude_continue", "variable", "dynamic")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One template, the steps that read its files, and the conversation that a part asks to go on with."""

    text: str
    before: list[Placed] = field(default_factory=list)
    session: str | None = None


def prompt_of(value: Json, path: Path, place: Place, *, name: str, when: Json = None) -> Prompt:
    """A prompt of the step `name`; files are read by a step before it, which obeys the same condition."""
    parts = value if isinstance(value, list) else [value]
    files: list[tuple[str, Path]] = []
    sessions: list[str] = []
    texts = [
        _part(part, (*path, index) if isinstance(value, list) else path, place, files, sessions)
        for index, part in enumerate(parts)
    ]
    before: list[Placed] = []
    contents: list[str] = []
    if files:
        step, contents = reads(name, files, place, when)
        before.append(step)
    left = iter(contents)
    joined = "\n".join(next(left) if text is None else text for text in texts if text != "")
    return Prompt(joined, before, sessions[0] if sessions else None)


def _part(part: Json, path: Path, place: Place, files: list[tuple[str, Path]], sessions: list[str]) -> str | None:
    """The template of one part; None stands for the next file's text."""
    if not isinstance(part, dict):
        return "" if part is None else place.text(str(part), path)
    reader = Reader(part, path, place.notes, PART)
    text = _by_kind(_kind(part, reader), reader, place, files, sessions)
    reader.close()
    return text


def _kind(part: Mapping[str, Json], reader: Reader) -> str | None:
    kind = reader.text("type")
    if kind is None:
        keys = {"content": "static", "path": "file", "step": "previous_response"}
        kind = next((found for key, found in keys.items() if key in part), None)
    return kind


def _by_kind(
    kind: str | None, reader: Reader, place: Place, files: list[tuple[str, Path]], sessions: list[str]
) -> str | None:
    match kind:
        case "static" | "dynamic":
            content = reader.value("content", "text")
            return "" if content is None else place.text(str(content), reader.path("content", "text"))
        case "file":
            return _file(reader, files)
        case "previous_response":
            return _previous(reader, place)
        case "variable":
            return place.source(reader.text("name", "variable") or "", reader.path("name", "variable"))
        case "session_context" | "claude_continue":
            sessions.append(own_name(reader.text("session_id", "session_name", "session") or "conversation"))
            content = reader.text("new_prompt", "content", "prompt")
            return place.text(content, reader.path("new_prompt", "content", "prompt")) if content else ""
    mend = f"Parts: {', '.join(_PARTS)}."
    reader.notes.refuse(reader.path("type"), f"unknown kind of prompt part {kind!r}", mend)
    return ""


def _file(reader: Reader, files: list[tuple[str, Path]]) -> str | None:
    path = reader.text("path", "file")
    if not path:
        reader.notes.refuse(reader.at, "a file part has no path", "Write path: and the file's name.")
        return ""
    files.append((path, reader.path("path", "file")))
    return None


def _previous(reader: Reader, place: Place) -> str:
    step = reader.text("step", "name")
    if not step:
        reader.notes.refuse(reader.at, "a previous_response part names no step", "Write step: and the step's name.")
        return ""
    extract = reader.text("extract", "field")
    path = reader.path("extract", "field") if extract else reader.path("step", "name")
    if step == "loop":
        return place.source(f"loop.{extract or 'item'}", path)
    return place.source(f"previous_response:{step}:{extract}" if extract else f"previous_response:{step}", path)
