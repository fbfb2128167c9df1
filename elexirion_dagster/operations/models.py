"""Which models a pipeline would ask, and whether its programs would be isolated."""

from elexirion_dagster.providers.catalog import resolve
from elexirion_dagster.records import dollars
from elexirion_dagster.sandbox.isolation import warning
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import Pipelines, may_ask_model, sandboxes
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.tags import MODEL_TAG, NO_MODEL, STREAM_TAG

__all__ = ["NO_MODEL", "isolation_note", "model_note", "model_tags"]


def model_tags(wanted: str | None, *, stream: bool = False) -> dict[str, str]:
    """The tags of a run that asks this model (NO_MODEL: none at all) instead of the pipeline's, streamed or not."""
    return {**({MODEL_TAG: wanted} if wanted else {}), **({STREAM_TAG: "yes"} if stream else {})}


def isolation_note(pipeline: Pipeline, pipelines: Pipelines, settings: Settings) -> str | None:
    """What to say where the pipeline's programs run without a sandbox, and nobody switched it off."""
    return warning(sandboxes(pipeline.steps, pipelines), settings.sandbox)


def model_note(pipeline: Pipeline, pipelines: Pipelines, override: str | None, settings: Settings) -> str:
    """Which model the pipeline asks and up to which cost, or why it asks none."""
    if not may_ask_model(pipeline.steps, pipelines):
        return f"{pipeline.name} asks no model."
    wanted = override or pipeline.model
    models = () if wanted == NO_MODEL else resolve(wanted, settings)
    if not models:
        why = "as you asked" if override == NO_MODEL else "none is configured, see `elexirion doctor`"
        return f"No model is asked ({why}); steps that need one are skipped."
    ceiling = "no ceiling set" if pipeline.budget.usd is None else f"at most {dollars(pipeline.budget.usd)}"
    return f"Model: {', then '.join(str(model) for model in models)}; {ceiling}. --no-model turns it off."
