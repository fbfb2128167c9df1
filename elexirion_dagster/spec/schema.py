"""The JSON Schema of the language, for editors."""

from elexirion_dagster.records import Json
from elexirion_dagster.spec.pipeline import Pipeline


def editor_schema() -> dict[str, Json]:
    """The JSON Schema of a pipeline document (draft 2020-12), with a description for every key."""
    schema = Pipeline.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Elexirion pipeline"}
