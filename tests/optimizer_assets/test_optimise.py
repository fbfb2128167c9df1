import json
import os
import signal
import subprocess
import sys

import pytest
from learnable import ADDRESS, BETTER, SETTINGS, label

from elexirion_dagster.errors import ElexirionError, InputError, PolicyError, StorageError
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.attempts import attempts
from elexirion_dagster.store.registry.promotions import pin, promote, rollback, try_out
from elexirion_dagster.store.registry.prompts import pointer, read, slot_folder
from elexirion_dagster.store.replay import Replay
from optimizer_assets.optimise import alone, learn
from optimizer_assets.told import Began, as_json


@pytest.fixture
def settings():
    return Settings.from_env(os.environ)


@pytest.fixture
def home(settings):
    return open_home(settings.home)


def events(settings):
    heard = []
    learned = learn(ADDRESS, settings, heard.append)
    return learned, heard


@pytest.mark.usefixtures("learnable")
def test_a_better_text_is_found_proven_and_put_to_use(settings, home):
    learned, heard = events(settings)
    assert learned.outcome == "promote", learned.why
    assert isinstance(heard[0], Began)
    assert heard[-1] is learned
    assert sum(heard[0].parts.values()) == 180
    version = read(home, "sorting", "sort", pointer(home, "sorting", "sort").hash)
    assert version.system == BETTER
    assert version.scores["candidate"]["quality"] == 1.0
    assert version.scores["baseline"]["quality"] < 0.7
    assert version.scores["n"] == heard[0].parts["holdout"]
    (attempt,) = attempts(home, "sorting", "sort")
    assert attempt.passed
    assert {change.score_after for change in learned.study.proof.changed} == {1.0}


@pytest.mark.usefixtures("learnable")
def test_the_events_are_json_lines_that_end_with_the_gate(settings):
    _, heard = events(settings)
    lines = [json.loads(json.dumps(as_json(event))) for event in heard]
    assert [line["event"] for line in lines][:2] == ["began", "iteration"]
    ended = lines[-1]
    assert (ended["event"], ended["outcome"]) == ("ended", "promote")
    assert all(check["passed"] for check in ended["gate"]["checks"])
    assert f"+{BETTER}" in ended["diff"]


def test_what_too_few_rows_prove_is_tried_out_on_a_share_of_the_items(learnable, settings, home):
    learnable.write(labels=[label(number) for number in range(90)])
    learned, heard = events(settings)
    assert heard[0].parts["holdout"] < 50
    assert learned.outcome == "canary", learned.why
    now = pointer(home, "sorting", "sort")
    assert (now.hash, now.canary.hash, now.canary.share) == (None, learned.study.proof.version.hash, 0.1)


def test_where_nothing_is_better_the_prompt_stays_and_the_gate_is_not_tried(learnable, settings, home):
    learnable.write(optimize=f"{SETTINGS}, instructions: [Look once.]}}")
    learned, _ = events(settings)
    assert learned.outcome == "keep"
    assert learned.study.proof is None
    assert pointer(home, "sorting", "sort").hash is None
    assert attempts(home, "sorting", "sort") == ()


def test_what_was_taken_back_is_not_put_to_use_again_by_the_same_rows(learnable, settings, home):
    learn(ADDRESS, settings, lambda _: None)
    rollback(home, "sorting", "sort", why="worse at work", by="watch")
    asked = learnable.calls
    again = learn(ADDRESS, settings, lambda _: None)
    assert again.outcome == "keep"
    assert "taken back" in again.why
    assert pointer(home, "sorting", "sort").hash is None
    assert learnable.calls == asked
    assert len(attempts(home, "sorting", "sort")) == 1


@pytest.mark.usefixtures("learnable")
def test_a_second_optimisation_of_a_slot_is_refused_while_one_is_under_way(settings, home):
    with alone(ADDRESS, home), pytest.raises(PolicyError, match="another optimisation of sorting/sort is under way"):
        learn(ADDRESS, settings, lambda _: None)
    with alone("sorting/other", home):
        assert learn(ADDRESS, settings, lambda _: None).outcome == "promote"


def test_a_pinned_slot_and_one_on_trial_are_refused_before_anything_is_paid(learnable, settings, home):
    version = learn(ADDRESS, settings, lambda _: None).study.proof.version.hash
    asked = learnable.calls
    pin(home, "sorting", "sort", why="as it is", by="person")
    with pytest.raises(PolicyError, match="pinned"):
        learn(ADDRESS, settings, lambda _: None)
    promote(home, "sorting", "sort", None, why="back", by="person")
    (slot_folder(home, "sorting", "sort") / "current").unlink()
    try_out(home, "sorting", "sort", version, 0.1, why="look", by="person")
    with pytest.raises(PolicyError, match="on trial"):
        learn(ADDRESS, settings, lambda _: None)
    assert learnable.calls == asked


def test_killed_and_started_again_it_pays_no_journaled_reply_twice(learnable, environ, settings, home):
    command = [sys.executable, "-m", "optimizer_assets", "optimize", ADDRESS]
    env = {**environ, "ELEXIRION_LOCAL_URL": os.environ["ELEXIRION_LOCAL_URL"]}
    first = subprocess.Popen(command, env=env, cwd=learnable.folder, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for line in first.stdout:
        if json.loads(line)["event"] == "iteration":
            first.send_signal(signal.SIGKILL)
            break
    first.wait()
    first.stdout.close()
    paid = learnable.calls
    (journaled,) = (Replay.load(home, folder.name) for folder in home.journal.iterdir())
    learned, _ = events(settings)
    assert learned.outcome == "promote"
    assert paid > 0
    # each call once, by whichever of the two; one that was sent and whose reply the kill kept from the journal, again
    assert 0 <= learnable.calls - learned.study.calls <= len(journaled.open_intents)


BAD = {
    "no label": ("{}", [], "holds no rows"),
    "too few": (f"{SETTINGS}}}", [label(number) for number in range(12)], "expected at least 30 usable rows, came 12"),
    "one class": (f"{SETTINGS}}}", [label(3 * number) for number in range(40)], "one class only"),
    "contradictory": (
        f"{SETTINGS}}}",
        [label(number) for number in range(60)] + [label(0).replace("red", "blue")],
        "contradictory labels",
    ),
    "wrong row": (f"{SETTINGS}}}", [label(0), '{"inputs": {"texts": 1}, "expected": 1}'], "sorted.jsonl:2"),
    "wrong label": (f"{SETTINGS}}}", [label(0), label(1).replace("green", "grey")], "sorted.jsonl:2"),
    "metric that raises": (
        "{metric: {expression: '{{ answer.kind.nothing.at_all }}'}, optimizer: bootstrap}",
        None,
        "answer.kind.nothing",
    ),
    "metric out of range": ("{metric: {expression: '{{ 7 }}'}, optimizer: bootstrap}", None, "7"),
    "judge that answers nonsense": (
        "{metric: {judge: {prompt: Is that good?}}, optimizer: bootstrap}",
        None,
        "expected a score from 0 to 1 and a reason from the judge",
    ),
    "calls used up": (f"{SETTINGS.replace('iterations: 2', 'calls: 20')}}}", None, "20 model calls"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_with_its_reason_and_the_prompt_in_use_untouched(name, learnable, settings, home):
    optimize, labels, said = BAD[name]
    learnable.write(optimize=optimize if optimize != "{}" else f"{SETTINGS}}}", labels=labels)
    with pytest.raises(ElexirionError) as failed:
        learn(ADDRESS, settings, lambda _: None)
    assert said in str(failed.value)
    assert pointer(home, "sorting", "sort").hash is None


def test_without_outcomes_and_labels_it_says_what_would_help(learnable, settings):
    file = learnable.file
    file.write_text(file.read_text().partition("examples:")[0])
    with pytest.raises(InputError) as failed:
        learn(ADDRESS, settings, lambda _: None)
    assert "came none" in str(failed.value)
    assert "Run the pipeline first" in str(failed.value)


def test_a_slot_whose_yaml_vanished_keeps_its_versions_and_is_refused_by_name(learnable, settings, home):
    version = learn(ADDRESS, settings, lambda _: None).study.proof.version.hash
    learnable.file.unlink()
    with pytest.raises(InputError, match="there is no pipeline 'sorting'"):
        learn(ADDRESS, settings, lambda _: None)
    assert pointer(home, "sorting", "sort").hash == version


@pytest.mark.usefixtures("learnable")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sorting", "expected PIPELINE/STEP"),
        ("sortin/sort", "Did you mean 'sorting'"),
        ("sorting/sorte", "Did you mean 'sort'"),
        ("../x/sort", "there is no pipeline"),
    ],
)
def test_an_address_that_names_no_slot_is_refused_with_the_nearest(address, said, settings):
    with pytest.raises(InputError) as failed:
        learn(address, settings, lambda _: None)
    assert said in str(failed.value)


@pytest.mark.usefixtures("learnable")
def test_a_version_that_was_edited_by_hand_is_refused(settings, home):
    version = learn(ADDRESS, settings, lambda _: None).study.proof.version.hash
    file = slot_folder(home, "sorting", "sort") / f"{version}.json"
    file.write_text(file.read_text().replace(BETTER, "Look away."))
    with pytest.raises(StorageError, match="was changed after it was written"):
        learn(ADDRESS, settings, lambda _: None)


def test_a_dead_model_ends_it_and_says_so(learnable, home, monkeypatch):
    monkeypatch.setenv("ELEXIRION_LOCAL_URL", "http://127.0.0.1:9/v1")
    file = learnable.file
    file.write_text(file.read_text().replace("    optimize:", "    retry: {max_attempts: 1}\n    optimize:"))
    with pytest.raises(ElexirionError) as failed:
        learn(ADDRESS, Settings.from_env(os.environ), lambda _: None)
    assert failed.value.cause == "connection"
    assert pointer(home, "sorting", "sort").hash is None
