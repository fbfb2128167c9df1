import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.sample import smallest_instance

LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({}),
    st.builds(lambda low: {"type": "string", "minLength": low}, st.integers(0, 9)),
    st.builds(lambda high: {"type": "string", "maxLength": high}, st.integers(0, 9)),
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-9, 9)),
    st.builds(lambda high: {"type": "integer", "maximum": high}, st.integers(-9, 9)),
    st.builds(
        lambda low, step: {"type": "integer", "minimum": low, "multipleOf": step}, st.integers(-9, 9), st.integers(1, 5)
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.floats(-9, 9)),
    st.builds(lambda low: {"type": "number", "minimum": low, "maximum": low + 0.25}, st.floats(-9, 9)),
    st.builds(lambda words: {"enum": words}, st.lists(st.text(max_size=3), min_size=1, unique=True)),
    st.builds(lambda word: {"const": word}, st.text(max_size=3)),
)


def _nested(inner):
    return st.one_of(
        st.builds(
            lambda properties, extra: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[extra:],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
            st.integers(0, 1),
        ),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2)),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=2)),
    )


@given(st.recursive(LEAVES, _nested, max_leaves=6))
def test_the_instance_fits_its_schema(schema):
    jsonschema.validate(smallest_instance(schema), schema)


def test_references_into_defs_are_followed():
    schema = {
        "$defs": {"leaf": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
        "type": "array",
        "items": {"$ref": "#/$defs/leaf"},
        "minItems": 1,
    }
    assert smallest_instance(schema) == [{"n": 0}]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string", "pattern": "^a+$"}, "pattern"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]}, "depth"),
        ({"$ref": "#"}, "depth"),
    ],
)
def test_what_cannot_be_invented_is_refused_by_name(schema, said):
    with pytest.raises(ProviderError, match=said) as caught:
        smallest_instance(schema)
    assert caught.value.cause == "bad_input"
