"""The one engine behind `{{ }}` and conditions: sandboxed Jinja, strict, bounded, typed."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes

from elexirion_dagster.errors import ElexirionError, ExpressionError
from elexirion_dagster.records import Json
from elexirion_dagster.templating.meter import METER, Bounds, Meter, plain
from elexirion_dagster.templating.references import chains_of
from elexirion_dagster.templating.sandbox import Environment, Lazy

__all__ = ["Bounds", "Engine"]

_SHOWN_CHARS = 120
_MESSAGE_CHARS = 1_000
_CACHED_TEMPLATES = 512
_CACHED_CHAINS = 1024
_RESULT = "result of the expression"
_UNCLEAR = frozenset({"false", "no", "off", "0", "none", "null"})
_ONE = "Write the whole condition inside one {{ … }}, or without braces."


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A template ready to run; `whole` ones leave a value, the others text."""

    template: jinja2.Template
    whole: bool
    untouched: bool


class Engine:
    """Evaluates templates over a scope of JSON values and lazily read records; safe to share between threads.

    `lazy(mapping, name)` is asked for a field that a mapping lacks; it raises KeyError when it does not know it either.
    """

    def __init__(self, *, bounds: Bounds | None = None, lazy: Lazy | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._environment = Environment(self._bounds, lazy)
        self._compile = functools.lru_cache(maxsize=_CACHED_TEMPLATES)(self._compile_now)

    def evaluate(self, template: str, scope: Mapping[str, Any]) -> Any:
        """Evaluate: one whole expression keeps its type, anything else becomes text. Raises ExpressionError."""
        if _is_plain(template):
            return template
        with _named(template):
            return self._run(template, self._compile(template, typed=True), scope)

    def render(self, template: str, scope: Mapping[str, Any]) -> str:
        """Evaluate to text, always; lists and maps become JSON. Raises ExpressionError."""
        if _is_plain(template):
            return template
        with _named(template):
            return str(self._run(template, self._compile(template, typed=False), scope))

    def evaluate_tree(self, value: Json, scope: Mapping[str, Any]) -> Json:
        """Evaluate every string inside lists and maps; keys stay as they are."""
        if isinstance(value, str):
            return self.evaluate(value, scope)
        if isinstance(value, Mapping):
            return {key: self.evaluate_tree(item, scope) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.evaluate_tree(item, scope) for item in value]
        return value

    def condition(self, template: str, scope: Mapping[str, Any]) -> bool:
        """Tell the truth of `{{ expression }}` or of the bare expression. Raises ExpressionError if unclear."""
        with _named(template):
            source = _as_condition(template)
            compiled = self._compile(source, typed=True)
            if not compiled.whole:
                raise ExpressionError("a condition is one expression, this is text", mend=_ONE)
            value = self._run(source, compiled, scope)
            if isinstance(value, str) and value.strip().lower() in _UNCLEAR:
                raise ExpressionError(
                    f"the text '{value}' is not clearly true or false", mend="Compare it: … == 'true'."
                )
            return bool(value)

    def check(self, template: str, *, condition: bool = False) -> None:
        """Check syntax, constructs, filters and tests without evaluating. Raises ExpressionError."""
        with _named(template):
            source = _as_condition(template) if condition else template
            tree = self._environment.tree(source)
            if condition and not _whole(tree):
                raise ExpressionError("a condition is one expression, this is text", mend=_ONE)
            if "{%" in source:  # only statements can be nested more deeply than Python takes
                self._compile(source, typed=True)

    def references(self, template: str, *, condition: bool = False) -> frozenset[tuple[str, ...]]:
        """List the static chains on free names: `steps['a'].x` is ("steps", "a", "x"). Raises ExpressionError."""
        if _is_plain(template) and not condition:
            return frozenset()
        with _named(template):
            return _free_chains(_as_condition(template) if condition else template, self._bounds)

    def _compile_now(self, template: str, *, typed: bool) -> _Compiled:
        environment = self._environment
        tree = environment.tree(template)
        whole = _whole(tree) if typed else None
        untouched = isinstance(whole, nodes.Name | nodes.Getattr | nodes.Getitem)
        if whole is not None:
            return _Compiled(environment.valued(tree), whole=True, untouched=untouched)
        code = environment.compile(environment.rewrite(tree))
        compiled = jinja2.Template.from_code(environment, code, environment.globals)
        return _Compiled(compiled, whole=False, untouched=untouched)

    def _run(self, source: str, compiled: _Compiled, scope: Mapping[str, Any]) -> Any:
        environment = self._environment

        def chains() -> Iterator[tuple[str, ...]]:
            return chains_of(environment.tree(source), free_only=False)

        token = METER.set(Meter(self._bounds, scope, chains, environment.getitem))
        try:
            context = compiled.template.new_context(dict(scope))
            pieces = compiled.template.root_render_func(context)
            if not compiled.whole:
                return self._collect(pieces)
            for _ in pieces:
                pass
            value = context.vars["value"]
            return value if compiled.untouched and _is_json(value) else plain(value)
        finally:
            METER.reset(token)

    def _collect(self, pieces: Iterator[str]) -> str:
        parts, size = [], 0
        for piece in pieces:
            parts.append(piece)
            size += len(piece)
            if size > self._bounds.max_output_chars:
                raise ExpressionError(f"the text is longer than {self._bounds.max_output_chars:,} characters")
        return "".join(parts)


@functools.lru_cache(maxsize=_CACHED_CHAINS)
def _free_chains(source: str, bounds: Bounds) -> frozenset[tuple[str, ...]]:
    """The chains of a template, which the checks and edges of a pipeline ask for some twenty times."""
    return frozenset(chains_of(Environment(bounds, None).tree(source), free_only=True))


def _is_plain(template: str) -> bool:
    return "{{" not in template and "{%" not in template and "{#" not in template


def _as_condition(template: str) -> str:
    return "{{ " + template + " }}" if _is_plain(template) else template.strip()


def _whole(tree: nodes.Template) -> nodes.Expr | None:
    """Return the only expression of a template that holds nothing else but line ends after it."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    first, *rest = tree.body[0].nodes
    if isinstance(first, nodes.TemplateData):
        return None
    return first if all(isinstance(part, nodes.TemplateData) and not part.data.strip("\n") for part in rest) else None


def _is_json(value: Any) -> bool:
    """Whether a looked-up value can be handed on as it is."""
    return value is None or isinstance(value, str | int | float | list | Mapping)


@contextmanager
def _named(template: str) -> Iterator[None]:
    """Turn whatever goes wrong into an ExpressionError that names the expression."""
    try:
        yield
    except ExpressionError as error:
        raise _about(template, error.message, error.mend) from error
    except ElexirionError:
        raise
    except jinja2.TemplateSyntaxError as error:
        said = (error.message or "").replace("'end of print statement'", "end of the expression")
        raise _about(template, f"line {error.lineno}: {said}") from error
    except RecursionError as error:
        raise _about(template, "nested too deeply") from error
    except SyntaxError as error:
        raise _about(template, "nested too deeply") from error
    except MemoryError as error:
        raise _about(template, "needs too much memory") from error
    except ZeroDivisionError as error:
        raise _about(template, "division by zero") from error
    except OverflowError as error:
        raise _about(template, "a number is too large") from error
    except Exception as error:
        raise _about(template, str(error) or type(error).__name__) from error


def _about(template: str, message: str, mend: str | None = None) -> ExpressionError:
    shown = " ".join(template[: _SHOWN_CHARS + 1].split())
    if len(template) > _SHOWN_CHARS:
        shown = shown[:_SHOWN_CHARS] + "…"
    return ExpressionError(f"{message[:_MESSAGE_CHARS]}, in `{shown}`", mend=mend)
