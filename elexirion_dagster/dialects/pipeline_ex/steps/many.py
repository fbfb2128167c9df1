"""Steps that ask a model many things at once: claude_batch and parallel_claude become `for_each`."""

from collections.abc import Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import SOURCE_FILES, Place
from elexirion_dagster.dialects.pipeline_ex.naming import free, slug
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import BATCH, STEP
from elexirion_dagster.dialects.pipeline_ex.steps.frame import condition, native, output_to
from elexirion_dagster.dialects.pipeline_ex.steps.model import model_fields, typed
from elexirion_dagster.dialects.pipeline_ex.steps.prompts import Prompt, prompt_of
from elexirion_dagster.records import Json

ASK = "ask"
"""Name of the step that asks the model, inside."""
REVIEW = (
    "Review this file. Report real problems only: bugs, security holes, wrong error handling. "
    "Quote the line of each and say how to mend it."
)
"""What is asked of each file where the document says nothing."""
_MILLISECONDS = 1000
_PARALLEL = 1000


def batch(step: Reader, name: str, kind: str, place: Place) -> list[Placed]:
    """`claude_batch`: its tasks, or its files."""
    config = step.inside("batch_config", said=BATCH)
    limit = config.number("timeout_per_task") or step.number("timeout_per_task")
    waves = {
        "max_parallel": config.whole("max_parallel") or step.whole("max_parallel") or 3,
        "batch_size": config.whole("batch_size") or step.whole("batch_size"),
        "on_error": "collect",
    }
    tasks = step.items("tasks") or config.items("tasks")
    at = step.path("tasks") if step.has("tasks") else config.path("tasks")
    fields = model_fields(step, kind, place)
    if limit:
        fields["timeout_s"] = limit / _MILLISECONDS if limit >= _MILLISECONDS else limit
    files = step.value("files") if step.has("files") else config.value("files")
    config.close()
    if files is not None:
        return _files(step, name, files, {"fields": fields, "waves": waves}, place)
    if not tasks:
        tasks, at = [{"task_id": "default_task", "prompt": step.value("prompt")}], step.at
    elif step.has("prompt") and all(isinstance(task, dict) and task.get("prompt") for task in tasks):
        step.say("every task has a prompt of its own, which is what is asked", "prompt")
    return _tasks(step, name, [(task, (*at, index)) for index, task in enumerate(tasks)], (kind, fields, waves), place)


def parallel(step: Reader, name: str, kind: str, place: Place) -> list[Placed]:
    """`parallel_claude`: its tasks, all at once."""
    tasks = step.items("parallel_tasks", "tasks")
    at = step.path("parallel_tasks", "tasks")
    if not tasks:
        step.notes.refuse(step.at, f"the step {name!r} has no parallel_tasks", "Write them as a list.")
        tasks = [{"id": "task", "prompt": "?"}]
    most = step.whole("max_parallel", "max_concurrent")
    waves = {"max_parallel": most or min(max(len(tasks), 1), _PARALLEL), "on_error": "collect"}
    fields = model_fields(step, "claude", place)
    return _tasks(step, name, [(task, (*at, index)) for index, task in enumerate(tasks)], (kind, fields, waves), place)


def _tasks(
    step: Reader,
    name: str,
    tasks: list[tuple[Json, Path]],
    how: tuple[str, Mapping[str, Any], Mapping[str, Any]],
    place: Place,
) -> list[Placed]:
    """One item per task: its id and prompt; tasks that differ in more than the prompt get a branch of their own."""
    kind, fields, waves = how
    before: list[Placed] = []
    items: list[Json] = []
    own: dict[str, Placed] = {}
    when = condition(step, place)
    for index, (task, at) in enumerate(tasks):
        reader = Reader(task if isinstance(task, dict) else {"prompt": task}, at, place.notes, STEP)
        key = free(reader.text("task_id", "id", "name") or f"task_{index}", own)
        prompt = _prompt(reader, step, f"{name}_{slug(key, 'task')}", when, place)
        before += prompt.before
        items.append({"id": key, "prompt": prompt.text})
        own[key] = _inner(reader, step, (kind, fields), place)
        reader.close()
    step.ignore("prompt")
    same = all(dict(inner) == dict(next(iter(own.values()))) for inner in own.values())
    inner = next(iter(own.values())) if same else _branches(step, own)
    loop = {"items": items, "as": "task", "key": "{{ task.id }}", **waves, "steps": [inner]}
    return [*before, _loop(step, name, loop, place)]


def _loop(step: Reader, name: str, fields: Mapping[str, Any], place: Place) -> Placed:
    """The for_each; retry and time limits stand on the step inside, which is what they are about."""
    loop = native(step, name, "for_each", fields, place)
    loop.pop("retry", None)
    return loop


def _inner(task: Reader, step: Reader, how: tuple[str, Mapping[str, Any]], place: Place) -> Placed:
    kind, fields = how
    if any(task.has(key) for key in ("claude_options", "options", "preset", "model")):
        merged = {**step.data, **task.data}
        both = {**step.map("claude_options", "options"), **task.map("claude_options", "options")}
        whole = Reader({**merged, "claude_options": both}, task.at, place.notes, STEP)
        task.ignore("claude_options", "options", "preset", "model")
        fields = model_fields(whole, "claude" if kind == "parallel_claude" else kind, place)
    if task.text("type") not in (None, "claude", "claude_smart"):
        task.say("a task is one model call here; a `pipeline` step in a `for_each` runs pipelines", "type")
    if task.has("condition"):
        task.say("not used; a `for_each` with a `when` on its inner step leaves tasks out", "condition")
    schema = typed(step, ASK, kind, place, task=task.text("task_id", "id"))
    fields = {"output": schema, **fields}
    order = ("model", "system", "tools", "max_turns", "max_tokens", "temperature", "output", "retry", "timeout_s")
    ordered = {key: fields[key] for key in order if fields.get(key) is not None}
    call = {"name": ASK, "type": "llm", **ordered, "prompt": "{{ task.prompt }}"}
    return Placed(task.at, {**call, "output_to": output_to(task, place)})


def _branches(step: Reader, own: Mapping[str, Placed]) -> Placed:
    cases = {key: [Placed(inner.at, {**inner, "name": "call"})] for key, inner in own.items()}
    return Placed(step.at, {"name": ASK, "type": "switch", "value": "{{ task.id }}", "cases": cases})


def _prompt(task: Reader, step: Reader, name: str, when: Json, place: Place) -> Prompt:
    """A task's prompt; a file of the task comes before it, the step's prompt stands in where it has none."""
    own = task.value("prompt", "prompts")
    path = task.path("prompt", "prompts")
    file = task.text("file")
    if own in (None, "", []):
        own, path = step.value("prompt"), step.path("prompt")
    if own in (None, "", []):
        own = REVIEW if file else None
        if file:
            place.notes.add(task.at, f"no prompt, so each file is asked about like this: {REVIEW}", key="prompt")
    if file:
        parts = own if isinstance(own, list) else [own]
        return prompt_of([{"type": "file", "path": file}, *parts], task.path("file"), place, name=name, when=when)
    if own is None:
        place.notes.refuse(task.at, "the task has neither prompt nor file", "Write one of them.")
        return Prompt("?")
    return prompt_of(own, path, place, name=name, when=when)


def _files(step: Reader, name: str, files: Json, how: Mapping[str, Any], place: Place) -> list[Placed]:
    """One call per file, whose text comes after the prompt."""
    path = step.path("files")
    before: list[Placed] = []
    prompt = step.value("prompt")
    if prompt in (None, "", []):
        place.notes.add(step.at, f"no prompt, so each file is asked about like this: {REVIEW}", key="prompt")
        prompt = REVIEW
    if isinstance(files, str) and files.strip("{} ") == SOURCE_FILES:
        place.book.lists_source = True
        items: Json = f"{{{{ steps.{SOURCE_FILES}.data.files }}}}"
    elif isinstance(files, str) and "{{" in files:
        items = place.source(files, path)
    else:
        include = [place.text(str(file), path).removeprefix("./") for file in step.items("files")]
        listed = place.book.fresh(f"{name}_list")
        verb = {"root": place.book.repo(path), "git": None, "include": include}
        before.append(Placed(path, {"name": listed, "type": "files", "when": condition(step, place)}))
        before[0]["list"] = {key: value for key, value in verb.items() if value is not None or key == "git"}
        items = f"{{{{ steps.{listed}.data.files }}}}"
    inside = place.inside({}, {}, loop_names=place.names.loop_names | {"file"}, item="file")
    asked = prompt_of(prompt, step.path("prompt"), inside, name=name, when=condition(step, place))
    text = f'{asked.text}\n\n<file path="{{{{ file.path }}}}">\n{{{{ file.text }}}}\n</file>'
    fields = {key: value for key, value in how["fields"].items() if value is not None}
    if not step.has("preset", "claude_options", "options") and place.book.defaults.preset is None:
        fields = {key: value for key, value in fields.items() if key not in ("tools", "max_turns")}
        place.notes.add(
            step.at, "the file is part of the prompt, so no tools are offered; `preset` gives them", "tools"
        )
    call = {"name": ASK, "type": "llm", **fields}
    call["output"] = typed(step, ASK, "claude_batch", place)
    inner = Placed(step.at, {**call, "prompt": text})
    loop = {"items": items, "as": "file", **how["waves"], "steps": [inner]}
    return [*before, *asked.before, _loop(step, name, loop, place)]
