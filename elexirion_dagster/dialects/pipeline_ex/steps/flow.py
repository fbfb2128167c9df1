"""Steps about steps: loops, branches, variables, checkpoints, and their fixtures' echo."""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import own_name
from elexirion_dagster.dialects.pipeline_ex.naming import is_name, slug
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.steps.frame import native
from elexirion_dagster.records import Json

Inner = Callable[[list[Json], Path, Place, Mapping[str, Any]], tuple[list[Placed], Place]]
"""Translates a list of inner steps, which see the further names in the map; also gives what can be named after it."""
ECHO = "result"
"""The variable of a `test_echo`."""
_MOST_TURNS, _TURNS, _PARALLEL = 1000, 100, 5
_SHELL = frozenset("|&;<>()$`*?[]~#!\n")


def for_loop(step: Reader, name: str, place: Place, inner: Inner) -> list[Placed]:
    """`for_loop`: one round per item; a failed loop does not end the run, as there."""
    item = own_name(step.text("iterator", "as") or "item")
    source = step.value("data_source", "over", "items")
    path = step.path("data_source", "over", "items")
    if source is None:
        step.notes.refuse(step.at, f"the loop {name!r} has no data_source", "Write what it goes through.")
    items = place.source(source, path) if isinstance(source, str) else place.tree(source, path)
    sided = step.flag("parallel")
    most = step.whole("max_parallel", "max_concurrent")
    if step.has("max_iterations"):
        step.say("not used; `items` may be cut: `{{ list[:10] }}`", "max_iterations")
    fields = {
        "items": items,
        "as": item if item not in ("loop", "steps", "inputs", "vars", "run", "env") else f"{item}_item",
        "max_parallel": min(most or _PARALLEL, _MOST_TURNS) if sided or (sided is None and most) else 1,
        "batch_size": step.whole("batch_size") or None,
        "on_error": "collect" if step.flag("break_on_error") is False else "fail",
    }
    names = {"loop_names": place.names.loop_names | {fields["as"]}, "item": fields["as"]}
    fields["steps"], _ = _body(step, name, place, inner, names)
    return [_going_on(native(step, name, "for_each", fields, place))]


def while_loop(step: Reader, name: str, place: Place, inner: Inner) -> list[Placed]:
    """`while_loop`: the condition is asked before every turn."""
    condition = step.value("condition")
    path = step.path("condition")
    if condition is None:
        step.notes.refuse(step.at, f"the loop {name!r} has no condition", "Write when it goes on.")
    most = step.whole("max_iterations")
    turns = most or _TURNS
    if turns > _MOST_TURNS:
        step.notes.add(step.path("max_iterations"), f"at most {_MOST_TURNS} turns are made")
    if most is None:
        step.notes.add(step.at, f"no max_iterations, so at most {_TURNS} turns are made", key="max_iterations")
    body, inside = _body(step, name, place, inner, {})
    fields = {
        "condition": inside.condition(condition, path),
        "max_iterations": min(turns, _MOST_TURNS),
        "steps": body,
    }
    bare = Reader({key: value for key, value in step.data.items() if key != "condition"}, step.at, step.notes, {})
    made = native(bare, name, "while", fields, place)
    made.origins["condition"] = path
    step.ignore(*bare.data)
    return [_going_on(made)]


def switch(step: Reader, name: str, place: Place, inner: Inner) -> list[Placed]:
    """`switch`: the branch that an expression's value names."""
    value = step.text("expression", "value", "on")
    path = step.path("expression", "value", "on")
    cases = step.map("cases")
    if not value or not cases:
        step.notes.refuse(step.at, f"the switch {name!r} needs expression and cases", "Write both.")
        return []
    branches = {
        str(case): inner(_list(steps), (*step.path("cases"), case), place, {})[0] for case, steps in cases.items()
    }
    default = inner(_list(step.value("default")), step.path("default"), place, {})[0] if step.has("default") else None
    fields = {"value": place.source(value, path), "cases": branches, "default": default}
    return [native(step, name, "switch", fields, place)]


def set_variable(step: Reader, name: str, place: Place) -> list[Placed]:
    """`set_variable`: `variables`, or one `variable` and its `value`."""
    variables = step.map("variables")
    path = step.path("variables")
    if step.has("variable"):
        path = step.path("value")
        variables = {**variables, step.text("variable") or "value": step.value("value")}
    if step.text("scope") not in (None, "global", "session"):
        step.say("a variable is seen by every later step; those set in a for_each stay with its item", "scope")
    if not variables:
        step.notes.refuse(step.at, f"the step {name!r} sets no variables", "Write variables: and their values.")
        return []
    values = {place.names.own(str(key)): place.tree(value, (*path, key)) for key, value in variables.items()}
    return [native(step, name, "set", {"vars": values}, place)]


def checkpoint(step: Reader, name: str, place: Place) -> list[Placed]:
    """`checkpoint`: nothing to do, as every run keeps what it has; its `state` becomes variables."""
    said = "nothing to do: every run keeps each finished step, and a recovery goes on from there"
    step.notes.add(step.path("type"), said, key=name)
    step.ignore("action", "on_not_found", "checkpoint_name", "include_workspace", "compress")
    state = step.map("state")
    values = {own_name(str(key)): place.tree(value, (*step.path("state"), key)) for key, value in state.items()}
    return [native(step, name, "set", {"vars": values or {slug(name): "done"}}, place)]


def test_echo(step: Reader, name: str, place: Place) -> list[Placed]:
    """`test_echo`, a step of their test fixtures: a value, or a failure."""
    if not place.book.test_steps:
        mend = "Allow it with --allow-test-steps."
        step.notes.refuse(step.path("type"), "test_echo is a step of test fixtures, which are not allowed", mend)
    value = place.tree(step.value("value"), step.path("value"))
    fails, message = step.flag("fail"), step.text("error_message")
    if not fails:
        fields = isinstance(value, dict) and value and ECHO not in value and all(map(is_name, value))
        return [native(step, name, "set", {"vars": value if fields else {ECHO: value}}, place)]
    step.notes.add(step.path("fail"), f"the step fails by running the program `false` ({message or 'no message'})")
    return [native(step, name, "command", {"run": ["false"]}, place)]


def bash(step: Reader, name: str, place: Place) -> list[Placed]:
    """`bash`: a program without a shell; what needs one runs in bash, unless a value would be put into it."""
    command = step.text("command", "script", "run")
    path = step.path("command", "script", "run")
    if not command:
        step.notes.refuse(step.at, f"the step {name!r} has no command", "Write command: and the program.")
        return []
    template = place.text(command.strip(), path)
    plain = command.replace("{{", "").replace("}}", "")
    run: Json = template
    env = {str(key): str(place.tree(value, step.path("env"))) for key, value in step.map("env", "environment").items()}
    if set(plain) & _SHELL or not _splits(template):
        run, values = _for_shell(template, step, path)
        env |= values
        step.notes.add(path, "commands run without a shell here; this one needs one, so bash is called with it")
    folder = step.text("cwd", "working_dir")
    cwd = place.text(folder, step.path("cwd", "working_dir")) if folder else None
    return [native(step, name, "command", {"run": run, "cwd": cwd, "env": env or None}, place)]


def _for_shell(template: str, step: Reader, path: Path) -> tuple[Json, dict[str, str]]:
    """A command for bash whose values come as variables of the environment, so that none is read as a command."""
    values: dict[str, str] = {}
    shell = ""
    for part in re.split(r"(\{\{(?:[^{}]|\{[^{}]*\})*\}\})", template):
        if not part.startswith("{{"):
            shell += part
            continue
        if re.sub(r'"(?:\\.|[^"\\])*"', "", shell).count("'") % 2:
            mend = "Use double quotes around it."
            step.notes.refuse(path, "a value inside single quotes would be put into the shell's text", mend)
        name = f"VALUE_{len(values) + 1}"
        values[name] = part
        shell += f"${{{name}}}"
    return ["bash", "-c", shell], values


def _splits(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def _body(step: Reader, name: str, place: Place, inner: Inner, names: Mapping[str, Any]) -> tuple[list[Placed], Place]:
    steps = step.value("steps")
    if not isinstance(steps, list) or not steps:
        step.notes.refuse(step.path("steps"), f"the loop {name!r} has no steps", "Write steps: and a list.")
        return [], place
    return inner(steps, step.path("steps"), place, names)


def _going_on(made: Placed) -> Placed:
    """Their loops report failure and the run goes on."""
    made.setdefault("continue_on_error", True)
    steps = made.pop("steps")
    made["steps"] = steps
    return made


def _list(value: Json) -> list[Json]:
    if isinstance(value, dict) and isinstance(value.get("steps"), list):
        return list(value["steps"])
    return value if isinstance(value, list) else [value]
