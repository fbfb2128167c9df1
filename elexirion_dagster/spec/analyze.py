"""`analyze`: real analyzers over files."""

from typing import ClassVar, Literal

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Effect, StepBase

AnalyzerName = Literal["ruff", "bandit", "vulture", "ast-grep"]


class AnalyzeStep(StepBase):
    """Run analyzers over listed files; `data.findings` holds what they found in one shape."""

    templates: ClassVar[tuple[str, ...]] = ("paths",)

    type: Literal["analyze"]
    tools: tuple[AnalyzerName, ...] = ("ruff", "bandit", "vulture", "ast-grep")
    """Which analyzers to run."""
    paths: Json
    """The file records to analyze, as a `files` list step gives them."""

    def default_effect(self) -> Effect:
        """Analyzers look at the tree."""
        return "read"
