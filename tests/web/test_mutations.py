import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.web.mutations import has_mutation


@pytest.mark.parametrize(
    "document",
    [
        "mutation { a }",
        "\ufeff\n# query\n,mutation{a}",
        "query A { a } mutation B { a }",
        "subscription A { a } query B { a } mutation C { a }",
        "fragment mutation on Query { a } mutation mutation { mutation }",
    ],
)
def test_one_mutation_among_the_operations_is_enough(document):
    assert has_mutation(document)


@pytest.mark.parametrize(
    "document",
    [
        "{ mutation }",
        "query mutation { a }",
        '{ a(text: "mutation { b }") }',
        "# mutation { a }\n{ a }",
        "subscription { mutation: a }",
        "fragment mutation on Query { a } { ...mutation }",
    ],
)
def test_the_word_alone_is_none(document):
    assert not has_mutation(document)


@pytest.mark.parametrize(
    "document", ["", "mutation", "{a" * 40_000, "{ a } #" + "x" * 100_000, "{ \ud800 }", "mutat\u0131on { a }"]
)
def test_what_cannot_be_parsed_is_an_error(document):
    with pytest.raises(InputError):
        has_mutation(document)
