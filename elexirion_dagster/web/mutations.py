"""Whether a GraphQL document would change anything."""

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

from elexirion_dagster.errors import InputError

_MOST_CHARS = 100_000


def has_mutation(document: str) -> bool:
    """Whether one of the document's operations is a mutation, whichever of them is to be run.

    Raises InputError when the document cannot be parsed, with the parser that Dagster uses.
    """
    if len(document) > _MOST_CHARS:
        raise InputError(f"The GraphQL document has more than {_MOST_CHARS:,} characters.")
    try:
        definitions = parse(document, no_location=True).definitions
    except (GraphQLError, RecursionError) as error:
        raise InputError(f"The GraphQL document cannot be parsed: {error}") from error
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is OperationType.MUTATION
        for definition in definitions
    )
