"""The language as a Dagster component: any `dg` project can keep pipelines in its `defs` folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import dagster as dg

from elexirion_dagster.compiler.compile import definitions_of
from elexirion_dagster.definitions import write_report
from elexirion_dagster.dialects.load import Loaded, load_any, load_string
from elexirion_dagster.dialects.lookup import SUFFIXES, find_all
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.settings import Settings
from elexirion_dagster.yamlio import dump


class PipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """Elexirion pipelines as jobs: one written in place, or files beside this one.

    Templates such as `{{ inputs.repo }}` are left to the pipeline's run.
    """

    pipeline: Annotated[str | dict[str, Any], dg.Resolver.passthrough()]
    """A pipeline document, or the path of a file or folder of them, relative to this file."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One job per pipeline, with its schedule. Raises DagsterInvalidDefinitionError that names file and line."""
        settings = Settings.from_env(os.environ)
        try:
            loaded = list(self._loaded(context.path, settings))
            return definitions_of(loaded, settings, executor=thread_executor, finish=write_report)
        except ElexirionError as error:
            raise dg.DagsterInvalidDefinitionError(str(error)) from error

    def _loaded(self, folder: Path, settings: Settings) -> Iterator[Loaded]:
        known = find_all(settings)
        if isinstance(self.pipeline, dict):
            yield load_string(dump(self.pipeline), file=None, known=known)
            return
        place = (folder / self.pipeline).resolve()
        if not place.exists():
            raise InputError(
                f"{self.pipeline} does not exist in {folder}", mend="Name a file or folder beside defs.yaml."
            )
        files = [file for file in (sorted(place.iterdir()) if place.is_dir() else [place]) if file.suffix in SUFFIXES]
        known |= {file.stem: file for file in files}
        yield from (load_any(file, known) for file in files)
