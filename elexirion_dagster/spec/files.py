"""`files`: list, read and write files."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.spec.base import Effect, Spec, StepBase

MAX_FILE_KB = 65_536
"""The largest file that can be asked for."""


class ListFiles(Spec):
    """Which files to list; paths and blob hashes only, text is read when it is rendered."""

    root: str = "."
    """Folder, as a template."""
    git: Literal["tracked", "changed"] | None = "tracked"
    """Only what git tracks, only what changed against HEAD, or (null) every file below `root`."""
    include: tuple[str, ...] = ()
    """Glob patterns such as `**/*.py`; all files when empty."""
    exclude: tuple[str, ...] = ()
    """Glob patterns that are left out."""
    max_file_kb: int = Field(default=1024, ge=1, le=MAX_FILE_KB)
    """Larger files are listed as skipped."""


class ReadFile(Spec):
    """Which file to read, below a `path` input or in the run's workspace."""

    path: str
    """Template of the path."""


class WriteFile(Spec):
    """What to write into the run's workspace."""

    path: str
    """Template of the path, relative to the workspace."""
    text: str
    """Template of the content."""


class FilesStep(StepBase):
    """Exactly one of `list`, `read`, `write`."""

    templates: ClassVar[tuple[str, ...]] = ("list_", "read", "write")

    type: Literal["files"]
    list_: ListFiles | None = Field(default=None, alias="list")
    """List files: `data.files` holds root, path, blob, size and language of each."""
    read: ReadFile | None = None
    """Read one file: its content is `text`."""
    write: WriteFile | None = None
    """Write one file into the workspace."""

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        given = [verb for verb in (self.list_, self.read, self.write) if verb is not None]
        if len(given) != 1:
            raise ValueError(f"a files step has exactly one of list, read, write; this one has {len(given)}")
        return self

    def default_effect(self) -> Effect:
        """Writing is an effect; listing and reading look at the tree."""
        return "write" if self.write else "read"
