import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import InputError
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.spec.children import pipeline_hash
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.promotions import promote
from elexirion_dagster.store.registry.prompts import save, slot_hash

ASK = "model: auto\nsteps: [{name: ask, type: llm, system: Be kind., prompt: go, output: {x: integer}}]"


def pipeline(inputs):
    return load_string(f"name: p\ninputs: {inputs}\nsteps: [{{name: s, type: set, vars: {{x: 1}}}}]").pipeline


def test_defaults_fill_in_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declared = pipeline(
        '{repo: {type: path, default: "."}, n: {type: integer, default: 3}, o: {type: string, default: null}}'
    )
    assert complete_inputs(declared, {}) == {"repo": str(tmp_path), "n": 3, "o": None}
    assert complete_inputs(declared, {"repo": "~/x"})["repo"] == str(Path("~/x").expanduser())


@pytest.mark.parametrize(
    ("inputs", "given", "why"),
    [
        ("{a: {type: string}}", {}, "needs the input a"),
        ("{a: {type: string}}", {"b": 1}, "no input 'b'"),
        ("{a: {type: integer}}", {"a": "1"}, "must be an integer"),
        ("{a: {type: integer}}", {"a": True}, "must be an integer"),
        ("{a: {type: boolean}}", {"a": 1}, "must be a boolean"),
        ("{a: {type: string, enum: [x, y]}}", {"a": "z"}, r"out of \['x', 'y'\]"),
        ("{a: {type: path}}", {"a": "x\0y"}, "no usable path"),
        ("{a: {type: path}}", {"a": "~nobody-of-that-name/x"}, "no usable path"),
    ],
)
def test_wrong_inputs_are_refused_by_name(inputs, given, why):
    with pytest.raises(InputError, match=why):
        complete_inputs(pipeline(inputs), given)


def test_inputs_nested_too_deeply_are_refused(start):
    deep = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deeply"):
        start("inputs: {x: {type: list}}\nsteps: [{name: s, type: set, vars: {x: 1}}]", x=deep)


def test_the_hash_of_a_pipeline_follows_what_it_says():
    one, same, other = (
        load_string(f"name: p\nsteps: [{{name: s, type: set, vars: {{x: {x}}}}}]").pipeline for x in (1, 1, 2)
    )
    assert pipeline_hash(one) == pipeline_hash(same) != pipeline_hash(other)


def test_the_model_stays_what_it_was_though_the_environment_changed(start):
    text = 'model: auto\nsteps: [{name: ask, type: llm, prompt: one}, {name: bad, type: set, vars: {x: "{{ 1 / 0 }}"}}]'
    first = start(text, settings={"model": "fake/old"})
    first.all()
    changed = text.replace("prompt: one", "prompt: two")
    again = start(changed, root=first.run.info.root_run, settings={"model": "fake/new"})
    again.all()
    assert [request.model for request in again.fake.requests] == ["old"]


def test_a_pinned_model_is_not_looked_up_again(start):
    text = "model: anthropic/claude-sonnet-4-5\nsteps: [{name: ask, type: llm, prompt: %s}]"
    from elexirion_dagster.providers.fake import FakeProvider

    fake = FakeProvider()
    key = {"model": None, "anthropic_api_key": "not-a-key"}
    first = start(text % "one", settings=key, opened={"anthropic": fake})
    first.all()
    again = start(text % "two", root=first.run.info.root_run, settings={"model": None}, opened={"anthropic": fake})
    assert again.all()["ask"].status == "succeeded"


def test_a_changed_prompt_is_refused_in_words(start):
    first = start(ASK, settings={"model": "fake"})
    first.all()
    again = start(ASK.replace("Be kind.", "Be rude."), root=first.run.info.root_run)
    error = again.all()["ask"].error
    assert error.cause == "bad_pipeline"
    assert "not the same any more" in error.message
    assert "start a new run" in error.mend


def promoted(home, text, system, **more):
    step = load_string(f"name: rehearsed\n{text}").pipeline.steps[0]
    base = slot_hash(step.system, [])
    version = save(
        home, "rehearsed", "ask", base_hash=base, system=system, examples=[], parent=None, model=None, scores={}, **more
    )
    promote(home, "rehearsed", "ask", version.hash, why="better", by="person")
    return version.hash


def test_the_promoted_prompt_is_used_and_recorded(start, home_path):
    start(ASK)  # makes the home
    version = promoted(Home(home_path), ASK, "Be kind and brief.")
    rehearsed = start(ASK)
    rehearsed.all()
    assert rehearsed.fake.requests[0].system == "Be kind and brief."
    assert rehearsed.lines("reply")[0]["prompt_version"] == version


def test_a_stale_promoted_prompt_is_left_alone_and_the_run_says_so(start, home_path):
    start(ASK)
    promoted(Home(home_path), ASK, "Be kind and brief.")
    rehearsed = start(ASK.replace("Be kind.", "Be fair."))
    result = rehearsed.run.step(rehearsed.run.pipeline.steps[0], {})
    assert rehearsed.fake.requests[0].system == "Be fair."
    assert "stale" in result.metadata["prompt_note"]


def test_a_later_run_of_the_same_root_keeps_its_prompt_though_another_was_promoted(start, home_path):
    home = Home(home_path)
    start(ASK)
    promoted(home, ASK, "First.")
    first = start(ASK)
    first.all()
    promoted(home, ASK, "Second.")
    again = start(ASK.replace("prompt: go", "prompt: on"), root=first.run.info.root_run)
    again.all()
    assert again.fake.requests[0].system == "First."
    fresh = start(ASK)
    fresh.all()
    assert fresh.fake.requests[0].system == "Second."


def test_inputs_stay_what_they_were(start):
    text = "inputs: {x: {type: string}}\nsteps: [{name: s, type: set, vars: {x: '{{ inputs.x }} {{ run.id }}'}}]"
    first = start(text, x="first")
    again = start(text, root=first.run.info.root_run, x="second")
    root = first.run.info.root_run
    assert again.all()["s"].data == {"x": f"first {root}"}


def test_a_run_sees_masks_in_place_of_secrets_and_what_continues_it_sees_the_same(start):
    secret = "ghp_" + "ab12" * 8
    text = (
        "inputs: {x: {type: string}, y: {type: string}}\n"
        "steps: [{name: s, type: set, vars: {x: '{{ inputs.x }}', y: '{{ inputs.y }}'}}]"
    )
    first = start(text, x=secret, y="a")
    seen = {"x": "[redacted:github_token]", "y": "a"}
    for given in ({"x": secret, "y": "a"}, seen, {"x": secret, "y": "b"}, {"x": "other", "y": "b"}):
        again = start(text, root=first.run.info.root_run, **given)
        assert again.all()["s"].data == seen
        assert secret not in str(again.lines())


def test_inputs_that_were_pinned_before_their_kind_of_secret_was_known_are_masked_now(start):
    secret = "hf_" + "aB3d" * 9
    text = "inputs: {x: {type: string}}\nsteps: [{name: s, type: set, vars: {x: '{{ inputs.x }}'}}]"
    first = start(text, x="plain")
    (journal,) = first.home.path.glob(f"journal/{first.run.info.root_run}/*.jsonl")
    journal.write_text(journal.read_text("utf-8").replace('"plain"', json.dumps(secret)), "utf-8")
    again = start(text, root=first.run.info.root_run, x=secret)
    assert again.all()["s"].data == {"x": "[redacted:huggingface_token]"}


def test_a_path_of_something_that_exists_is_no_secret_whatever_it_looks_like(start, tmp_path):
    place = tmp_path / ("ghp_" + "ab12" * 8)
    place.mkdir()
    text = "inputs: {private_key: {type: path}}\nsteps: [{name: s, type: set, vars: {x: '{{ inputs.private_key }}'}}]"
    for path in (place, tmp_path):
        assert start(text, private_key=str(path)).run.inputs == {"private_key": str(path)}
    assert "[redacted:" in start(text, private_key=str(place / "none")).run.inputs["private_key"]


def test_tags_are_journaled_without_secrets(start):
    secret = "ghp_" + "ab12" * 8
    rehearsed = start("steps: [{name: s, type: set, vars: {x: 1}}]", tags={"note": secret})
    assert rehearsed.lines("run_started")[0]["tags"] == {"note": "[redacted:github_token]"}


def test_run_values_are_those_of_the_root_run(start):
    text = "steps: [{name: s, type: set, vars: {at: '{{ run.started_at }}', p: '{{ run.pipeline }}'}}]"
    first = start(text)
    again = start(text.replace("{at:", "{new: 1, at:"), root=first.run.info.root_run)
    assert again.all()["s"].data["at"] == first.all()["s"].data["at"]


def test_outputs_are_evaluated_and_journaled(start):
    rehearsed = start(
        "steps: [{name: s, type: set, vars: {x: 1}}]\noutputs: {n: '{{ steps.s.data.x + 1 }}', v: '{{ vars.x }}'}"
    )
    assert rehearsed.run.outputs(rehearsed.all()) == {"n": 2, "v": 1}
    assert rehearsed.lines("outputs")[0]["outputs"] == {"n": 2, "v": 1}


def test_facts_count_what_was_asked_and_spent(start):
    rehearsed = start("model: fake\nsteps: [{name: a, type: llm, prompt: x}, {name: b, type: llm, prompt: y}]")
    rehearsed.all()
    facts = rehearsed.run.facts()
    assert (facts["calls"], facts["cost_usd"], facts["model"]) == (2, 0.0, "fake/fake")


def test_everything_a_run_keeps_is_for_its_user_alone(start):
    rehearsed = start("model: fake\nsteps: [{name: a, type: llm, prompt: x, output_to: a/b.txt}]")
    rehearsed.all()
    for place in (rehearsed.home.path, *rehearsed.home.path.rglob("*")):
        assert place.stat().st_mode & 0o077 == 0, place


def test_progress_is_thinned_but_first_and_last_are_told(start):
    text = (
        "inputs: {n: {type: list}}\n"
        "steps: [{name: each, type: for_each, items: '{{ inputs.n }}', steps: [{name: s, type: set, vars: {x: 1}}]}]"
    )
    rehearsed = start(text, n=list(range(500)))
    told = []
    rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}, listen=told.append)
    assert told[0] == "each: 0 of 500"
    assert told[-1] == "each: 500 of 500"
    assert len(told) < 20


def test_a_call_that_takes_longer_than_five_seconds_says_so_to_whoever_listens(start):
    told = []
    with RehearsalServer(Script(latency_ms=6500)) as server:
        settings = {"model": None, "local_base_url": f"{server.base_url}/v1"}
        rehearsed = start("model: local/m\nsteps: [{name: ask, type: llm, prompt: go}]", settings=settings)
        rehearsed.run.step(rehearsed.run.pipeline.steps[0], {}, listen=told.append)
    assert told
    assert all(re.fullmatch(r"ask: \d+ s, no text yet", line) for line in told)
    assert rehearsed.lines("partial") == []


def test_many_calls_are_announced_with_model_and_ceiling_before_the_first(start):
    text = (
        "budget: {usd: 2}\nmodel: fake\n"
        "steps: [{name: each, type: for_each, items: [a, b], steps: [{name: s, type: llm, prompt: x}]}]"
    )
    rehearsed = start(text)
    rehearsed.all()
    kinds = [line["kind"] for line in rehearsed.lines()]
    assert kinds.index("progress") < kinds.index("intent")
    assert rehearsed.lines("progress")[0]["note"] == "2 items go to fake/fake, at most $2.00"


@pytest.mark.parametrize("field", ["anthropic_api_key", "gemini_api_key", "local_api_key"])
def test_our_own_keys_are_not_kept_whatever_their_shape(start, field):
    key = "shaped like nothing"
    rehearsed = start(f"steps: [{{name: s, type: set, vars: {{v: {key}}}}}]", settings={field: SecretStr(key)})
    rehearsed.all()
    assert rehearsed.lines("step")
    assert key not in str(rehearsed.lines())


@pytest.mark.parametrize(
    ("ask", "model", "known"),
    [
        ("{name: ask, type: llm, prompt: go, when: '{{ false }}'}, ", "fake/a", "fake/a"),
        ("{name: ask, type: llm, prompt: go}, ", "none", None),
        ("", "fake/a", None),
    ],
)
def test_a_template_knows_which_model_the_run_asks_if_it_asks_any(start, ask, model, known):
    text = f"model: auto\nsteps: [{ask}{{name: s, type: set, vars: {{m: '{{{{ run.model }}}}'}}}}]"
    assert start(text, tags={"elexirion/model": model}).all()["s"].data == {"m": known}


def test_what_continues_a_run_has_only_the_time_that_is_left_of_its_budget(start):
    text = """
budget: {seconds: 1}
steps:
  - {name: a, type: command, run: [sleep, '0.6']}
  - {name: b, type: command, run: [sleep, '%s']}
"""
    first = start(text % "0.7")
    assert first.all()["b"].error.cause == "timeout"
    again = start(text % "0.1", root=first.run.info.root_run).all()
    assert (again["a"].status, again["b"].error.cause) == ("succeeded", "timeout")
