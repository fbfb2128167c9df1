"""`analyze`: real analyzers over files, and what a model claims beside them."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Effect, ProgramStep

AnalyzerName = Literal["ruff", "bandit", "vulture", "ast-grep"]


class AnalyzeStep(ProgramStep):
    """Run analyzers over listed files, or settle a model's `claims` about them; `data.findings` has one shape."""

    templates: ClassVar[tuple[str, ...]] = ("paths", "claims", "known")

    type: Literal["analyze"]
    tools: tuple[AnalyzerName, ...] = ("ruff", "bandit", "vulture", "ast-grep")
    """Which analyzers to run."""
    paths: Json
    """The file records to analyze, as a `files` list step gives them."""
    claims: Json = None
    """In place of tools: maps of `path` and `claims`, each a map of quote, line, rule, severity, message."""
    known: Json = None
    """Findings whose lines need not be claimed again."""

    @model_validator(mode="after")
    def _tools_or_claims(self) -> Self:
        if self.claims is not None and "tools" in self.model_fields_set:
            raise ValueError("a step has either tools or claims; write two steps")
        if self.known is not None and self.claims is None:
            raise ValueError("`known` has a meaning beside `claims` only")
        return self

    def default_effect(self) -> Effect:
        """Analyzers look at the tree."""
        return "read"
