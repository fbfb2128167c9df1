"""`files`: list, read, write, copy, move, delete, convert and validate files."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Effect, Spec, StepBase
from elexirion_dagster.spec.output import record_schema

DataFormat = Literal["json", "yaml", "csv"]
MAX_FILE_KB = 65_536
"""The largest file that can be asked for."""


class ListFiles(Spec):
    """Which files to list; paths and blob hashes only, text is read when it is rendered."""

    root: str = "."
    """Folder, as a template."""
    git: Literal["tracked", "changed", "due"] | None = "tracked"
    """Only what git tracks, only what changed against HEAD, or (null) every file below `root`; `due`: the files that
    this run is to scan, of which `partitions` says everything else."""
    include: tuple[str, ...] = ()
    """Glob patterns such as `**/*.py`; all files when empty."""
    exclude: tuple[str, ...] = ()
    """Glob patterns that are left out."""
    max_file_kb: int = Field(default=1024, ge=1, le=MAX_FILE_KB)
    """Larger files are listed as skipped."""

    @model_validator(mode="after")
    def _due_stands_alone(self) -> Self:
        beside = self.model_fields_set - {"git"}
        if self.git == "due" and beside:
            raise ValueError(f"`git: due` has no {min(beside)} beside it: partitions says which files there are")
        return self


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


class CopyFiles(Spec):
    """What to copy into the workspace, byte by byte: a file, or a folder with all that is in it."""

    from_: str = Field(alias="from")
    """Template of a path below a `path` input or in the workspace."""
    to: str
    """Template of the new path, relative to the workspace."""


class MoveFiles(Spec):
    """What to move within the workspace: a file or a folder."""

    from_: str = Field(alias="from")
    """Template of the path, relative to the workspace."""
    to: str
    """Template of the new path, relative to the workspace; a file that is there is replaced."""


class DeleteFiles(Spec):
    """What to delete in the workspace."""

    path: str
    """Template of the path, relative to the workspace."""
    recursive: bool = False
    """Whether a folder is deleted with all that is in it."""


class ConvertFile(Spec):
    """A file of data in another format."""

    from_: str = Field(alias="from")
    """Template of a path below a `path` input or in the workspace."""
    to: str
    """Template of the new path, relative to the workspace."""
    from_format: DataFormat | None = None
    """Format of `from`, where its suffix does not say it."""
    to_format: DataFormat | None = None
    """Format of `to`, where its suffix does not say it."""


class ValidateFiles(Spec):
    """What is to hold of files; the step fails with the cause check_failed and names each thing that does not."""

    path: str | tuple[str, ...]
    """Template of a path, or of a list of them, below a `path` input or in the workspace."""
    exists: bool = True
    """Whether there is to be something, or nothing (then no other key has a meaning)."""
    kind: Literal["file", "folder"] | None = None
    """What it is to be; a file where another key asks for its content."""
    min_bytes: int | None = Field(default=None, ge=0)
    """Smallest size of a file."""
    max_bytes: int | None = Field(default=None, ge=0)
    """Largest size of a file."""
    format: DataFormat | None = None
    """The file is to be well-formed in this format."""
    schema_: Json = Field(default=None, alias="schema")
    """What its data is to be, as in `output`; the format is that of `format`, else of the suffix."""
    contains: str | None = Field(default=None, min_length=1)
    """Template of a text that is to stand in the file."""

    @field_validator("schema_")
    @classmethod
    def _is_a_schema(cls, schema: Json) -> Json:
        if schema is not None:
            record_schema(schema)
        return schema

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        asked = self.model_fields_set - {"path", "exists"}
        if not self.exists and asked:
            raise ValueError(f"what does not exist has no {min(asked).removesuffix('_')}")
        if self.kind == "folder" and asked - {"kind"}:
            raise ValueError(f"a folder has no {min(asked - {'kind'}).removesuffix('_')}")
        if self.path in ("", ()):
            raise ValueError("path names nothing")
        return self

    def json_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the data, if there is one."""
        return None if self.schema_ is None else record_schema(self.schema_)


class DiffFiles(Spec):
    """What changed in listed files, out of git's objects."""

    root: str = "."
    """Folder in the repository, as a template."""
    of: Json
    """The file records to compare, as a list step gives them; one that has `before`, a blob, is compared with that."""
    since: str | None = None
    """Template of a commit, a branch or a tag: with what to compare the others."""
    max_kb: int = Field(default=64, ge=1, le=1024)
    """Longer diffs of one file are cut there."""


class FilesStep(StepBase):
    """Exactly one of `list`, `read`, `write`, `copy`, `move`, `delete`, `convert`, `validate`, `diff`."""

    verbs: ClassVar[tuple[str, ...]] = (
        *("list_", "read", "write", "copy_", "move", "delete", "convert", "validate_"),
        "diff",
    )
    templates: ClassVar[tuple[str, ...]] = verbs

    type: Literal["files"]
    list_: ListFiles | None = Field(default=None, alias="list")
    """List files: `data.files` holds root, path, blob, size and language of each."""
    read: ReadFile | None = None
    """Read one file: its content is `text`."""
    write: WriteFile | None = None
    """Write one file into the workspace."""
    copy_: CopyFiles | None = Field(default=None, alias="copy")
    """Copy a file or a folder into the workspace."""
    move: MoveFiles | None = None
    """Move a file or a folder of the workspace."""
    delete: DeleteFiles | None = None
    """Delete a file or a folder of the workspace."""
    convert: ConvertFile | None = None
    """Turn JSON, YAML or CSV into another of them."""
    validate_: ValidateFiles | None = Field(default=None, alias="validate")
    """Check that files are as they should be."""
    diff: DiffFiles | None = None
    """Compare listed files with what they were."""

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        given = [verb for verb in self.verbs if getattr(self, verb) is not None]
        if len(given) != 1:
            names = ", ".join(verb.removesuffix("_") for verb in self.verbs)
            raise ValueError(f"a files step has exactly one of {names}; this one has {len(given)}")
        return self

    def default_effect(self) -> Effect:
        """Changing the workspace is an effect; listing, reading, validating and comparing look at the tree."""
        return "read" if self.list_ or self.read or self.validate_ or self.diff else "write"
