"""`query`: what a code base consists of and what depends on what."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Effect, Spec, StepBase

Language = Literal["python", "javascript", "typescript", "go", "rust", "elixir"]
Kind = Literal["function", "method", "class", "module", "interface", "struct", "enum", "trait", "type", "macro"]


class FindFiles(Spec):
    """Which files; every file when nothing is asked for."""

    name: str | None = None
    """Glob pattern over the path, such as `*_test.*`, as a template."""
    contains: str | None = None
    """Plain text that stands in the file, as a template."""


class FindSymbols(Spec):
    """Which definitions; every one when nothing is asked for."""

    name: str | None = None
    """Glob pattern over the name, such as `parse_*`, as a template."""
    kind: tuple[Kind, ...] = ()
    """Kinds of definitions; all when empty."""
    of: Json = None
    """Path of a file below `root`, a file record, or a list of them; every file when absent."""


class FindImports(Spec):
    """What files import."""

    of: Json = None
    """Path of a file below `root`, a file record, or a list of them; every file when absent."""


class FindDependents(Spec):
    """Which files import the given ones directly."""

    of: Json
    """Path of a file below `root`, a file record, or a list of them."""


class FindImpact(Spec):
    """Which files import the given ones, directly or through others."""

    of: Json
    """Path of a file below `root`, a file record, or a list of them."""
    max_depth: int | None = Field(default=None, ge=1, le=10_000)
    """How many imports away at most; no bound when absent."""


class QueryStep(StepBase):
    """Exactly one of `files`, `symbols`, `imports`, `dependents`, `impact`; `data` holds records under that name."""

    templates: ClassVar[tuple[str, ...]] = (
        *("root", "include", "exclude"),
        *("files", "symbols", "imports", "dependents", "impact"),
    )

    type: Literal["query"]
    root: str = "."
    """Folder of the code, as a template; the files that git tracks below it are looked at."""
    include: tuple[str, ...] = ()
    """Glob patterns such as `src/**`; all files when empty."""
    exclude: tuple[str, ...] = ()
    """Glob patterns that are left out."""
    languages: tuple[Language, ...] = ()
    """Only files of these languages; all when empty."""
    files: FindFiles | None = None
    """Files by name and content."""
    symbols: FindSymbols | None = None
    """Functions, classes and the like, with their lines."""
    imports: FindImports | None = None
    """What each file imports, and which file of the repository that is."""
    dependents: FindDependents | None = None
    """Direct importers of a file."""
    impact: FindImpact | None = None
    """All that depends on a file, at any distance."""

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        verbs = (self.files, self.symbols, self.imports, self.dependents, self.impact)
        given = sum(verb is not None for verb in verbs)
        if given != 1:
            words = "files, symbols, imports, dependents, impact"
            raise ValueError(f"a query step has exactly one of {words}; this one has {given}")
        return self

    def default_effect(self) -> Effect:
        """Questions look at the tree."""
        return "read"
