"""Steps that ask one model: claude, gemini and their kin become `llm`."""

from collections.abc import Mapping
from typing import Any

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.expressions.scope import own_name
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import EXTRACTION, RETRY, SESSION
from elexirion_dagster.dialects.pipeline_ex.schemas import of_functions, output_schema
from elexirion_dagster.dialects.pipeline_ex.steps.calls import DAY_S, claude, gemini, named, retry
from elexirion_dagster.dialects.pipeline_ex.steps.frame import condition, native, schema_path
from elexirion_dagster.dialects.pipeline_ex.steps.prompts import Prompt, prompt_of
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Retry

EXTRACTED: Mapping[str, Json] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "analysis": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["text"],
}
"""What gemini_instructor's answer holds where the document gives no schema."""
_ROBUST: Mapping[str, Json] = {
    "max_retries": 3,
    "backoff_strategy": "exponential",
    "base_delay_ms": 1000,
    "retry_conditions": ["timeout", "rate_limit", "temporary_error"],
    "fallback_action": "graceful_degradation",
}


def ask(step: Reader, name: str, kind: str, place: Place) -> list[Placed]:
    """One model call as an llm step, after the step that reads the files of its prompt."""
    fields = model_fields(step, kind, place)
    fields["output"] = typed(step, name, kind, place)
    if kind == "claude_robust":
        fields |= _robust(step, name, typed=fields["output"] is not None)
    turns = step.value("conversation", "messages") if kind in ("claude_session", "llm", "prompt", "claude") else None
    session = _session(step, name) if kind == "claude_session" else step.value("session")
    if turns:
        return _conversation(step, name, turns, {**fields, "session": session}, place)
    prompt = _prompt(step, name, place)
    session = session or prompt.session
    _stretch(fields, step)
    asked = _ordered({**fields, "prompt": prompt.text, "session": session})
    made = native(step, name, "llm", asked, place, own_retry=kind == "claude_robust")
    return [*prompt.before, made]


def model_fields(step: Reader, kind: str, place: Place) -> dict[str, Any]:
    """Model, system, tools and limits of a step of one of their types."""
    if kind in ("gemini", "gemini_instructor"):
        return gemini(step, place)
    if kind in ("prompt", "llm"):
        return named(step, place)
    return claude(step, kind, place)


def typed(step: Reader, name: str, kind: str, place: Place, *, task: str | None = None) -> Json:
    """The `output` of a step: its schema, its functions' parameters, or the fields that later steps take."""
    extraction = step.inside("extraction_config", said=EXTRACTION) if kind == "claude_extract" else None
    schema = step.value("output_schema", "schema")
    if schema is None and extraction is not None:
        schema = extraction.value("schema")
    if extraction is not None:
        extraction.close()
    functions = _functions(step, place)
    if schema is not None:
        return output_schema(schema, schema_path(step), place.notes)
    if functions:
        found = of_functions(functions, step.path("functions"), place.notes)
        if found is not None:
            return found
    original = str(step.data.get("name", step.data.get("id")))
    fields = place.book.wanted.get(f"{original}.{task}" if task else original, {})
    if fields:
        said = f"later steps take {', '.join(sorted(fields))} of this answer, so it is asked for as data"
        place.notes.add(step.path("name"), said, key=name)
        return {"type": "object", "properties": dict(fields), "required": list(fields)}
    return dict(EXTRACTED) if kind == "gemini_instructor" else None


def _functions(step: Reader, place: Place) -> list[tuple[str, Mapping[str, Json]]]:
    found: list[tuple[str, Mapping[str, Json]]] = []
    for index, entry in enumerate(step.items("functions")):
        path: Path = (*step.path("functions"), index)
        if isinstance(entry, dict):
            found.append((str(entry.get("name", f"function {index + 1}")), entry))
        elif str(entry) in place.book.functions:
            found.append((str(entry), place.book.functions[str(entry)]))
        else:
            known = ", ".join(place.book.functions) or "none"
            place.notes.refuse(path, f"the function {entry!r} is not defined", f"gemini_functions defines: {known}.")
    return found


def _stretch(fields: dict[str, Any], step: Reader) -> None:
    """Their time limit is that of one attempt, ours that of the step with all its attempts and waits."""
    limit, retries = fields.get("timeout_s"), fields.get("retry")
    if not limit or not retries or retries["max_attempts"] == 1:
        return
    again = Retry.model_validate(retries)
    waits = sum(again.wait_s(attempt) for attempt in range(1, again.max_attempts))
    fields["timeout_s"] = min(limit * again.max_attempts + waits, DAY_S)
    said = f"{limit:g} s for each of {again.max_attempts} attempts are {fields['timeout_s']:g} s for the step in all"
    step.notes.add(step.path("claude_options", "options"), said, key="timeout_ms")


def _prompt(step: Reader, name: str, place: Place) -> Prompt:
    value = step.value("prompt", "prompts", "message")
    path = step.path("prompt", "prompts", "message")
    if value in (None, "", []):
        step.notes.refuse(step.at, f"the step {name!r} has no prompt", "Write prompt: and what the model is asked.")
        return Prompt("?")
    when = condition(step, place)
    prompt = prompt_of(value, path, place, name=name, when=when)
    return prompt if prompt.text.strip() else Prompt("(no text)", prompt.before, prompt.session)


def _session(step: Reader, name: str) -> dict[str, Json]:
    config = step.inside("session_config", said=SESSION)
    session = own_name(config.text("session_name", "session_id") or step.text("session_id", "session_name") or name)
    persist = config.flag("persist") if config.has("persist") else None
    lasting = bool(persist) or bool(config.flag("continue_on_restart")) or bool(config.flag("continue_session"))
    config.close()
    return {"name": session, "scope": "pipeline" if lasting else "run"}


def _robust(step: Reader, name: str, *, typed: bool) -> dict[str, Json]:
    """Retry and fallback; an answer out of a fallback makes the step degraded."""
    config = Reader({**_ROBUST, **step.map("retry_config")}, step.path("retry_config"), step.notes, RETRY)
    action = config.text("fallback_action")
    at = config.path("fallback_action")
    answer = f"The step {name} could not be answered; this fixed answer stands in for it."
    fallback: Json = {"answer": answer}
    match action:
        case "simplified_prompt":
            fallback = {"prompt": f"Provide a brief, simple response for: {name}"}
        case "fail" | "none" | "error":
            fallback = None
        case "use_cached_response" | "cached_response":
            said = "no answers of other runs are kept for this; a fixed answer stands in, and the step is degraded"
            step.notes.add(at, said, key="fallback_action")
        case "graceful_degradation" | "emergency_response":
            said = f"{action}: a fixed answer stands in when all attempts failed; the step is then degraded"
            step.notes.add(at, said, key="fallback_action")
        case _:
            said = f"{action}: there is a fixed answer or a simpler prompt; a fixed answer stands in"
            step.notes.add(at, said, key="fallback_action")
    if typed and isinstance(fallback, dict) and "answer" in fallback:
        fallback = {"prompt": f"Provide a brief, simple response for: {name}"}
        said = "an answer has to fit the schema, so a simpler prompt stands in"
        step.notes.add(at, said, key="fallback_action")
    return {"retry": retry(config, first_counts=False), "fallback": fallback}


def _conversation(step: Reader, name: str, turns: Json, fields: Mapping[str, Any], place: Place) -> list[Placed]:
    """Turns with the model's own among them are `messages`; turns of the user alone are calls of one session."""
    path = step.path("conversation", "messages")
    step.ignore("prompt")
    said: list[tuple[str, str]] = []
    before: list[Placed] = []
    for index, turn in enumerate(turns if isinstance(turns, list) else [turns]):
        role, prompt = _turn(turn, (*path, index), place, name)
        before += prompt.before
        said.append((role, prompt.text or "…"))
    if any(role == "assistant" for role, _ in said):
        if said[-1][0] == "assistant":
            place.notes.add(path, "the last turn is the model's own, so it is left out: the model answers it anew")
            said.pop()
        own = {**fields, "session": None}
        messages = [{"role": role, "content": text} for role, text in said]
        return [*before, native(step, name, "llm", _ordered({**own, "messages": messages}), place)]
    session = fields.get("session") or {"name": name, "scope": "run"}
    place.notes.add(path, "each turn is a call of its own in one session")
    own = _ordered({**fields, "session": session, "prompt": said[-1][1]})
    last = native(step, name, "llm", own, place)
    kept = {key: value for key, value in last.items() if key not in ("output", "output_to", "description")}
    earlier = [
        Placed(step.at, {**kept, "name": place.book.fresh(f"{name}_turn_{index + 1}"), "prompt": text})
        for index, (_, text) in enumerate(said[:-1])
    ]
    return [*before, *earlier, last]


def _turn(turn: Json, path: Path, place: Place, name: str) -> tuple[str, Prompt]:
    if not isinstance(turn, dict):
        return "user", prompt_of(turn, path, place, name=name)
    role = str(turn.get("role", "user"))
    for key in ("content", "prompt", "message", "text", "user", "assistant"):
        if turn.get(key) is not None:
            role = key if key in ("user", "assistant") else role
            speaker = "assistant" if role in ("assistant", "model", "claude") else "user"
            return speaker, prompt_of(turn[key], (*path, key), place, name=name)
    place.notes.refuse(path, "a turn of the conversation has no text", "Write role: and content:.")
    return "user", Prompt("?")


def _ordered(fields: Mapping[str, Any]) -> dict[str, Any]:
    order = ("model", "system", "prompt", "messages", "session", "tools", "max_turns", "max_tokens", "temperature")
    return {key: fields[key] for key in (*order, *fields) if key in fields}
