"""Secrets out of what GraphQL mutations ask Dagster to store: run configs, tags, titles and descriptions."""

import copy
import functools
import json
from collections.abc import Mapping
from typing import Any

from dagster_graphql.schema import create_schema
from dagster_graphql.schema.runs import parse_run_config_input
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    Node,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    ValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    parse,
    print_ast,
    type_from_ast,
    value_from_ast_untyped,
    visit,
)

from elexirion_dagster.errors import InputError
from elexirion_dagster.inputs import is_place
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor

_CONFIG, _TAG = "RunConfigData", "ExecutionTag"
_TEXTS = frozenset({"title", "description"})
_MOST_NODES = 1_000_000


def masked_request(body: Mapping[str, Json], redactor: Redactor) -> tuple[dict[str, Json], list[str]]:
    """The body of a GraphQL request with a mask for each secret that Dagster would store, and the masked places.

    `body` has `query` and maybe `variables` and `operationName`, as they come in a POST as application/json. Queries
    stay as they are. Raises InputError for a mutation that cannot be looked through because it cannot be parsed, is
    too large or too deep; it must not be handed on.
    """
    query = body.get("query")
    if not isinstance(query, str) or "mutation" not in query:  # a keyword has one spelling
        return dict(body), []
    try:
        return _masked(body, parse(query), redactor)
    except GraphQLError as error:
        raise InputError(f"The GraphQL document cannot be parsed: {error.message}") from error
    except RecursionError as error:
        raise InputError("the request is nested too deeply", mend="Put large inputs into a file.") from error


def _masked(body: Mapping[str, Json], document: DocumentNode, redactor: Redactor) -> tuple[dict[str, Json], list[str]]:
    given = body.get("variables")
    try:
        variables = json.loads(given) if isinstance(given, str) else copy.deepcopy(given)
    except ValueError:
        return dict(body), []
    masking = _Masking(redactor, variables if isinstance(variables, dict) else {})
    for operation in document.definitions:
        if isinstance(operation, OperationDefinitionNode) and operation.operation is OperationType.MUTATION:
            masking.look_at_variables(operation)
    types = TypeInfo(_schema())
    shown = visit(document, TypeInfoVisitor(types, _Literals(masking, types)))
    if not masking.places:
        return dict(body), []
    return {**body, "query": print_ast(shown), "variables": variables}, masking.places


@functools.cache
def _schema() -> GraphQLSchema:
    schema: GraphQLSchema = create_schema().graphql_schema
    return schema


class _Masking:
    """Masks values by their GraphQL types; `variables` are changed in place, `places` says where."""

    def __init__(self, redactor: Redactor, variables: dict[str, Json]) -> None:
        self.redactor = redactor
        self.variables = variables
        self.places: list[str] = []

    def look_at_variables(self, operation: OperationDefinitionNode) -> None:
        """Mask the variables that an operation declares."""
        for declared in operation.variable_definitions or ():
            name, type_ = declared.variable.name.value, type_from_ast(_schema(), declared.type)
            if name in self.variables and type_ is not None:
                self.variables[name] = self.value(self.variables[name], type_, f"variables.{name}")

    def value(self, value: Json, type_: Any, at: str) -> Json:
        """Mask a value of an input type."""
        named = get_named_type(type_)
        if isinstance(value, list) and named.name != _CONFIG:
            return [self.value(one, named, f"{at}[{index}]") for index, one in enumerate(value)]
        if named.name == _CONFIG:
            return self.config(value, at)
        if not isinstance(value, dict) or not isinstance(named, GraphQLInputObjectType):
            return value
        if named.name == _TAG:
            return {**value, "value": self.tag(value.get("key"), value.get("value"), at)}
        return {name: self._field(named, name, part, f"{at}.{name}") for name, part in value.items()}

    def _field(self, owner: GraphQLInputObjectType, name: str, value: Json, at: str) -> Json:
        if name in _TEXTS and isinstance(value, str):
            return self.text(value, at)
        return self.value(value, owner.fields[name].type, at) if name in owner.fields else value

    def config(self, value: Json, at: str) -> Json:
        """Mask a run config: a map, or its YAML, read as Dagster reads it."""
        if not isinstance(value, str):
            return self._tree(value, at)
        read = parse_run_config_input(value, raise_on_error=False)
        if isinstance(read, str):
            return self.text(value, at)
        masked = self._tree(read, at)
        return value if masked == read else json.dumps(masked)

    def tag(self, key: Json, value: Json, at: str) -> Json:
        """Mask the value of a tag, which may be named like a secret."""
        if not isinstance(key, str) or not isinstance(value, str):
            return value
        masked, places = self.redactor.masked({key: value}, keep=is_place)
        self.places += [f"{at}.{place}" for place in places]
        return next(iter(masked.values()))

    def text(self, value: str, at: str) -> str:
        """Mask a text."""
        masked = self.redactor.text(value)
        self.places += [at] if masked != value else []
        return masked

    def _tree(self, value: Json, at: str) -> Json:
        _check_size(value)
        masked, places = self.redactor.masked(value, keep=is_place)
        self.places += [f"{at}.{place}" if place else at for place in places]
        return masked


class _Literals(Visitor):
    """Masks what stands in the document itself, default values of variables included."""

    def __init__(self, masking: _Masking, types: TypeInfo) -> None:
        super().__init__()
        self._masking = masking
        self._types = types

    def enter(self, node: Node, *_: Any) -> Node | None:
        """A changed node in place of one that holds a secret."""
        if isinstance(node, ObjectFieldNode):
            return self._text_field(node)
        if not isinstance(node, ValueNode):
            return None
        named = get_named_type(self._types.get_input_type())
        kind = named.name if named else None
        if kind == _CONFIG and not isinstance(node, VariableNode):
            return self._config(node)
        return self._tag(node) if kind == _TAG and isinstance(node, ObjectValueNode) else None

    def _config(self, node: ValueNode) -> Node | None:
        value = value_from_ast_untyped(node, self._masking.variables)
        masked = self._masking.config(value, _CONFIG)
        if masked == value:
            return None
        # A string takes any map, whose keys need not be GraphQL names.
        return StringValueNode(value=masked if isinstance(masked, str) else json.dumps(masked), block=False)

    def _tag(self, node: ObjectValueNode) -> Node | None:
        fields = {field.name.value: field.value for field in node.fields}
        if not fields.keys() >= {"key", "value"}:
            return None
        key, value = (value_from_ast_untyped(fields[name], self._masking.variables) for name in ("key", "value"))
        masked = self._masking.tag(key, value, _TAG)
        if masked == value:
            return None
        if isinstance(fields["value"], VariableNode):
            self._masking.variables[fields["value"].name.value] = masked
            return None
        return _with_field(node, "value", StringValueNode(value=masked, block=False))

    def _text_field(self, node: ObjectFieldNode) -> Node | None:
        if node.name.value not in _TEXTS:
            return None
        value = value_from_ast_untyped(node.value, self._masking.variables)
        masked = self._masking.text(value, node.name.value) if isinstance(value, str) else value
        if masked == value:
            return None
        if isinstance(node.value, VariableNode):
            self._masking.variables[node.value.name.value] = masked
            return None
        return ObjectFieldNode(name=node.name, value=StringValueNode(value=masked, block=False))


def _with_field(node: ObjectValueNode, name: str, value: ValueNode) -> ObjectValueNode:
    fields = [
        ObjectFieldNode(name=field.name, value=value) if field.name.value == name else field for field in node.fields
    ]
    return ObjectValueNode(fields=tuple(fields))


def _check_size(value: Json) -> None:
    """Refuse what a few aliases of YAML blow up to more than can be looked through."""
    left, seen = [value], 0
    while left:
        one = left.pop()
        seen += 1
        if seen + len(left) > _MOST_NODES:
            raise InputError(
                f"the run config has more than {_MOST_NODES:,} values", mend="Put large inputs into a file."
            )
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list):
            left += one
