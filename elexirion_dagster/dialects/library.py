"""The pipelines that a document's steps run: their files found and read, each once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from elexirion_dagster.errors import InputError, PipelineError, Problem
from elexirion_dagster.spec.children import is_path, pipeline_steps, referred_name
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.yamlio import Document

NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that may not have the name that it has, and why."""

    file: Path
    error: InputError


class KnownFiles(dict[str, Path]):
    """The files of pipelines by name. A name in `refused` means none of them."""

    def __init__(self, files: Mapping[str, Path], refused: Mapping[str, Refused]) -> None:
        super().__init__(files)
        self.refused = refused


def refusal(known: Mapping[str, Path], name: str) -> InputError | None:
    """Why a name means none of the known files, although a file has it."""
    return known.refused[name].error if isinstance(known, KnownFiles) and name in known.refused else None


Read = Callable[[Path], tuple[Document, Pipeline]]
"""Reads a file's document and pipeline. Raises PipelineError."""


@dataclass(slots=True)
class Family:
    """A pipeline and those it may run, by name, the first one first; and why some could not be had."""

    members: dict[str, tuple[Document, Pipeline]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        """The pipelines by name."""
        return {name: pipeline for name, (_, pipeline) in self.members.items()}


class Library:
    """Where references lead from a document: `known` files by name, and files below its folder or a known one's."""

    def __init__(self, read: Read, known: Mapping[str, Path], file: Path | None = None) -> None:
        self._read = read
        self._known = known
        self._file = file.resolve() if file else None

    def family(self, document: Document, pipeline: Pipeline) -> Family:
        """The pipeline and all that it may come to run."""
        family = Family({pipeline.name: (document, pipeline)})
        files = {pipeline.name: self._file}
        todo = [(self._file, document, pipeline)]
        while todo:
            file, source, member = todo.pop(0)
            for path, step in pipeline_steps(member.steps):
                if not isinstance(step.pipeline, str):
                    continue
                at = (*path, "pipeline")
                try:
                    found = self._find(step.pipeline, file, files)
                    if found is None:
                        continue
                    name = referred_name(step.pipeline)
                    files[name] = found
                    family.members[name] = self._read(found)
                    todo.append((found, *family.members[name]))
                except _NotHadError as error:
                    family.problems.append(source.problem(error.message, at, error.mend))
                except PipelineError as error:
                    family.problems += error.problems
        return family

    def _find(self, reference: str, file: Path | None, files: Mapping[str, Path | None]) -> Path | None:
        """The file behind a reference in a document of this file; None when it was read already."""
        name = referred_name(reference)
        if not is_path(reference) and name in files and (files[name] is None or name not in self._known):
            return None
        found = self._at(reference, file) if is_path(reference) else self._named(name)
        if name in files and files[name] != found:
            other = files[name] or "this document"
            message = f"{found} and {other} are both called {name}"
            raise _NotHadError(message, "Rename one of them: a pipeline is known by its name.")
        return None if name in files else found

    def _named(self, name: str) -> Path:
        if name in self._known:
            return self._known[name].resolve()
        if error := refusal(self._known, name):
            raise _NotHadError(error.message, error.mend)
        close = get_close_matches(name, self._known, n=1)
        known = f"Known: {', '.join(self._known) or 'none'}; a file beside this one is written ./{name}.yaml."
        raise _NotHadError(f"there is no pipeline {name!r}", f"Did you mean {close[0]!r}?" if close else known)

    def _at(self, reference: str, file: Path | None) -> Path:
        if file is None:
            message = f"{reference} is relative to a file, and this document is none"
            raise _NotHadError(message, "Name the pipeline, or put the document into a file.")
        try:
            found = (file.parent / reference).resolve()
            there = found.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise _NotHadError(f"{reference!r} is no usable path: {error}", "Name an existing file.") from error
        if not there:
            beside = [path.name for path in found.parent.glob("*.y*ml")] if found.parent.is_dir() else []
            close = get_close_matches(found.name, beside, n=1)
            raise _NotHadError(f"the file {reference} does not exist", f"Did you mean {close[0]!r}?" if close else None)
        folders = {path.resolve().parent for path in self._known.values()}
        if not any(found.is_relative_to(folder) for folder in (file.parent, *folders)):
            message = f"{reference} leads out of {file.parent}"
            raise _NotHadError(message, "Put the file below the folder of this one, or into a pipelines folder.")
        return found


class _NotHadError(Exception):
    """Why a reference leads nowhere, and how to mend it."""

    def __init__(self, message: str, mend: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
