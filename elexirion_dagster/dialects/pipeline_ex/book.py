"""What is known while one pipeline is translated, and what the translation finds out on its way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from types import MappingProxyType

from elexirion_dagster.dialects.pipeline_ex.expressions import translate as expressions
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Names, Shape, Translated
from elexirion_dagster.dialects.pipeline_ex.naming import free
from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.presets import Defaults
from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.records import Json

SOURCE_FILES = "all_source_files"
"""Their name for all source files; ours is a step that lists what git tracks."""
TYPES: Mapping[type, str] = MappingProxyType(
    {bool: "boolean", int: "integer", float: "number", list: "list", dict: "object", str: "string"}
)
"""The type of an input by that of its value."""
REPO = "repo"
"""The input that names the folder whose files are read."""


@dataclass(slots=True)
class Book:
    """One pipeline (a child has its own): its root's settings, its inputs so far, the names in use."""

    notes: Notes
    folder: FilePath | None
    """Where the document lies; None for a text."""
    test_steps: bool
    """Whether `test_echo` is allowed."""
    defaults: Defaults
    functions: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    inputs: dict[str, Placed] = field(default_factory=dict)
    wanted: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Fields that expressions take of a step's answer, by the step's original name."""
    names: set[str] = field(default_factory=set)
    """Step names in use at the top level or generated."""
    written: frozenset[str] = frozenset()
    """Files that steps of the document write into the workspace."""
    workspace: str = ""
    """The folder that the document calls its workspace: paths below it mean the run's own folder."""
    lists_source: bool = False
    """Whether the source files are asked for."""

    def inside(self, text: str) -> str | None:
        """A path below the document's workspace as one in the run's folder; None for any other."""
        plain = text.removeprefix("./")
        if not self.workspace or not f"{plain}/".startswith(f"{self.workspace}/"):
            return None
        return plain[len(self.workspace) :].strip("/") or "."

    def made(self, text: str) -> str | None:
        """A path that the run itself fills, as one in its folder: of the workspace, or what a step writes."""
        plain = text.removeprefix("./")
        inside, folder = self.inside(text), (self.defaults.output_dir or "").strip("/").removeprefix("./")
        within = plain.removeprefix(f"{folder}/") if folder else plain
        if inside is None and any(f"{one}/".startswith(f"{name}/") for name in self.written for one in (plain, within)):
            return plain
        return inside

    def fresh(self, wanted: str) -> str:
        """A step name that nothing has yet."""
        name = free(wanted, self.names)
        self.names.add(name)
        return name

    def need(self, name: str, at: Path, kind: str = "string", **fields: Json) -> None:
        """Declare an input unless it is declared."""
        if name not in self.inputs:
            self.inputs[name] = Placed(at, {"type": kind})
            self.inputs[name].update(fields)

    def repo(self, at: Path) -> str:
        """The template of the folder that the pipeline works on."""
        self.need(REPO, at, "path", default=".", description="Folder whose files are read")
        return f"{{{{ inputs.{REPO} }}}}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: what its expressions may name."""

    book: Book
    names: Names
    top: bool = True
    """Whether it is no inner step."""

    @property
    def notes(self) -> Notes:
        """The document's list."""
        return self.book.notes

    def text(self, template: str, path: Path) -> str:
        """A template of theirs as one of ours."""
        return self._take(expressions.template, template, path)

    def tree(self, value: Json, path: Path) -> Json:
        """Every text inside lists and maps as a template of ours."""
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, dict):
            return {str(key): self.tree(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.tree(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def condition(self, value: Json, path: Path) -> str:
        """A condition of theirs as one of ours."""
        return self._take(expressions.condition, value, path)

    def source(self, text: str, path: Path) -> str:
        """A reference such as `previous_response:a.b` as a template that keeps the value's type."""
        return self._take(expressions.source, text, path)

    def item_condition(self, text: str, path: Path) -> str:
        """A condition over one record as one over `item`."""
        return self._take(expressions.item_condition, text, path)

    def inside(self, steps: Mapping[str, str], shapes: Mapping[str, Shape], **changes: object) -> "Place":
        """The place of inner steps: `steps` are their names, ours by theirs."""
        names = replace(
            self.names,
            steps=self.names.steps | set(steps.values()),
            renamed={**self.names.renamed, **steps},
            results={**self.names.results, **shapes},
            **changes,  # type: ignore[arg-type]
        )
        return replace(self, names=names, top=False)

    def _take(self, translate: Callable[[Json, Names], Translated], value: Json, path: Path) -> str:
        try:
            translated = translate(value, self.names)
        except ExpressionError as error:
            self.notes.refuse(path, error.message, error.mend)
            return "true"
        text = translated.text
        for said in translated.notes:
            if SOURCE_FILES not in said:
                self.notes.add(path, said)
        for name in translated.unresolved:
            if name == SOURCE_FILES:
                self.book.lists_source = True
                text = text.replace(f"inputs.{name}", f"steps.{name}.data.files")
            else:
                self.book.need(name, path)
        return text
