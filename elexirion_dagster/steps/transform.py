"""Reshape a list of records: filter, map, sort, group, aggregate, flatten, limit, unique, join, extract, validate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.transform import Operation, Sort, TransformStep, Unique, Validate
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.records.extracts import extracted
from elexirion_dagster.steps.records.figures import figures, figures_by_group
from elexirion_dagster.steps.records.joins import joined
from elexirion_dagster.steps.records.rows import Rows, check_count, identity
from elexirion_dagster.templating.meter import kind

_SHOWN = 5


def run(step: TransformStep, ctx: StepContext) -> StepResult:
    """Apply the operations in order; `data` is what is left."""
    records = ctx.evaluate(step.from_)
    if not isinstance(records, list):
        raise InputError(f"from of {ctx.path} must be a list, got {kind(records)}", mend="Refer to a list.")
    done = _Applied(list(records))
    for operation, grouped in zip(step.ops, step.grouped(), strict=True):
        ctx.go_on()
        done.apply(operation, Rows(ctx, done.value), grouped=grouped)
    return StepResult("succeeded", data=ctx.shared.redactor.tree(done.value), metadata=done.metadata)


@dataclass(slots=True)
class _Applied:
    """The records after the operations so far, and what the UI is told about those."""

    value: Json
    metadata: dict[str, Json] = field(default_factory=dict)

    def apply(self, operation: Operation, rows: Rows, *, grouped: bool) -> None:
        """Apply one more; `grouped` says that the records are groups."""
        if operation.aggregate is not None:
            of = figures_by_group if grouped else figures
            self.value = of(operation.aggregate, rows)
        elif operation.validate_ is not None:
            self.value = self._validated(operation.validate_, rows)
        else:
            (word,) = operation.model_fields_set
            self.value = _OPERATIONS[word](operation, rows)

    def _validated(self, wanted: Validate, rows: Rows) -> list[Json]:
        check = checker(wanted.json_schema())
        problems = [(record, "; ".join(check(record))) for _, record in rows]
        bad = [(index, problem) for index, (_, problem) in enumerate(problems) if problem]
        match wanted.on_error:
            case "drop":
                self.metadata["invalid_dropped"] = self.metadata.get("invalid_dropped", 0) + len(bad)
            case "mark":
                return [_marked(rows, index, problem) for index, (_, problem) in enumerate(problems)]
            case "fail" if bad:
                raise _invalid(rows, bad)
        return [record for record, problem in problems if not problem]


def _marked(rows: Rows, index: int, problem: str) -> Json:
    record = rows.records[index]
    if not isinstance(record, Mapping):
        raise rows.refuse(index, f"only maps can be marked, got {kind(record)}", mend="Use on_error: fail or drop.")
    return {**record, "valid": not problem, "problem": problem or None}


def _invalid(rows: Rows, bad: list[tuple[int, str]]) -> ElexirionError:
    listed = [f"{rows.name(index)}: {problem}" for index, problem in bad[:_SHOWN]]
    more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
    return ElexirionError(
        f"{rows.ctx.path}: {len(bad)} of {len(rows.records)} records do not fit the schema: "
        + "; ".join([*listed, *more]),
        cause="check_failed",
        mend="Mend where they come from, or use on_error: drop or mark.",
    )


def _filtered(operation: Operation, rows: Rows) -> list[Json]:
    condition = operation.filter or ""
    return [record for index, record in rows if rows.holds(condition, index, record)]


def _mapped(operation: Operation, rows: Rows) -> list[Json]:
    return [rows.evaluate(operation.map, index, record) for index, record in rows]


def _sorted(operation: Operation, rows: Rows) -> list[Json]:
    order = list(range(len(rows.records)))
    for key in reversed(operation.sort_keys()):
        order = _by(key, order, rows)
    return [rows.records[index] for index in order]


def _by(key: Sort, order: list[int], rows: Rows) -> list[int]:
    """The positions ordered by one key, equal ones as they were, those without a value last."""
    values = rows.fields(key.by)
    rows.check_order(values, key.by)
    present = [index for index in order if values[index] is not None]
    try:
        present.sort(key=values.__getitem__, reverse=key.order == "desc")
    except TypeError as error:
        raise InputError(f"{rows.ctx.path}: {key.by} has values that cannot be ordered: {error}") from error
    return present + [index for index in order if values[index] is None]


def _flattened(operation: Operation, rows: Rows) -> list[Json]:
    name = operation.flatten or ""
    found: list[Json] = []
    for index, record in rows:
        elements = record.get(name) if isinstance(record, Mapping) else None
        if not isinstance(elements, list):
            came = f"{name!r} is {kind(elements)}" if isinstance(record, Mapping) and name in record else "has none"
            mend = "Name the field that holds a list, or filter the records without it out."
            raise rows.refuse(index, f"flatten needs a list in the field {name!r}: it {came}", mend=mend)
        rest = {key: value for key, value in record.items() if key != name}
        check_count(rows.ctx, len(found) + len(elements), "flatten")
        found += [{**rest, **(element if isinstance(element, dict) else {name: element})} for element in elements]
    return found


def _grouped(operation: Operation, rows: Rows) -> list[Json]:
    groups: dict[object, dict[str, Json]] = {}
    keys = rows.fields(operation.group.by if operation.group else "")
    for key, record in zip(keys, rows.records, strict=True):
        groups.setdefault(identity(key), {"key": key, "items": []})["items"].append(record)
    return list(groups.values())


def _unique(operation: Operation, rows: Rows) -> list[Json]:
    values = rows.fields(operation.unique.by) if isinstance(operation.unique, Unique) else rows.records
    found: dict[object, Json] = {}
    for value, record in zip(values, rows.records, strict=True):
        found.setdefault(identity(value), record)
    return list(found.values())


_OPERATIONS: dict[str, Callable[[Operation, Rows], list[Json]]] = {
    "filter": _filtered,
    "map": _mapped,
    "sort": _sorted,
    "group": _grouped,
    "flatten": _flattened,
    "limit": lambda operation, rows: rows.records[: operation.limit],
    "unique": _unique,
    "join": lambda operation, rows: joined(operation.join, rows) if operation.join else rows.records,
    "extract": lambda operation, rows: extracted(operation.extract or "", rows),
}
