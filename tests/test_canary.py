"""A version on trial: which items get it, and that a root run keeps what it began with."""

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.promotions import promote, stop, try_out
from elexirion_dagster.store.registry.prompts import Canary, save, slot_hash

EACH = """
steps:
  - name: each
    type: for_each
    items: "{{ range(40) | list }}"
    as: n
    key: "item{{ n }}"
    steps: [{name: ask, type: llm, system: Old., prompt: "{{ n }}"}]
"""
ASK = "steps: [{name: ask, type: llm, system: Old., prompt: Hello.}]"
BY = {"why": "tried", "by": "person"}


@pytest.fixture
def saved(start, home_path):
    start(ASK)  # makes the home

    def save_one(step, system="New."):
        texts = {"base_hash": slot_hash("Old.", []), "system": system, "examples": [], "scores": {}}
        return save(Home(home_path), "rehearsed", step, parent=None, model=None, **texts).hash

    return save_one


def systems(rehearsed):
    rehearsed.all()
    return {request.messages[-1].content[0].text: request.system for request in rehearsed.fake.requests}


def test_a_canary_is_used_for_its_share_of_the_items_and_for_the_same_ones_in_every_run(start, saved, home_path):
    version = saved("each.ask")
    try_out(Home(home_path), "rehearsed", "each.ask", version, 0.25, **BY)
    first, second = systems(start(EACH)), systems(start(EACH))
    trial = Canary(version, 0.25, "")
    assert first == second == {str(n): "New." if trial.takes(f"item{n}") else "Old." for n in range(40)}
    assert 3 <= list(first.values()).count("New.") <= 20


def test_the_outcome_records_the_version_that_was_really_used(start, saved, home_path):
    version = saved("each.ask")
    try_out(Home(home_path), "rehearsed", "each.ask", version, 0.5, **BY)
    rehearsed = start(EACH)
    said = systems(rehearsed)
    recorded = [(line["inputs"]["n"], line["prompt_version"]) for line in rehearsed.lines("reply")]
    old = f"yaml:{slot_hash('Old.', [])}"
    assert sorted(recorded) == [(n, version if said[str(n)] == "New." else old) for n in range(40)]


def test_whatever_a_file_is_cut_into_goes_by_the_file(start, saved, home_path):
    text = """
steps:
  - name: each
    type: for_each
    items: [{path: a.py}, {path: b.py}, {path: c.py}, {path: d.py}, {path: e.py}, {path: f.py}]
    as: file
    steps:
      - name: parts
        type: for_each
        items: [one, two, three]
        as: part
        steps: [{name: ask, type: llm, system: Old., prompt: "{{ file.path }} {{ part }}"}]
"""
    version = saved("each.parts.ask")
    try_out(Home(home_path), "rehearsed", "each.parts.ask", version, 0.5, **BY)
    said = systems(start(text))
    by_file = {name: {said[f"{name}.py {part}"] for part in ("one", "two", "three")} for name in "abcdef"}
    assert all(len(versions) == 1 for versions in by_file.values())
    assert set.union(*by_file.values()) == {"Old.", "New."}


def test_without_items_a_canary_goes_by_run_and_its_recovery_keeps_it_when_it_was_stopped(start, saved, home_path):
    home, version = Home(home_path), saved("ask")
    trial = Canary(version, 0.5, "")
    roots = {trial.takes(f"root{n}"): f"root{n}" for n in range(20)}
    try_out(home, "rehearsed", "ask", version, 0.5, **BY)
    for taken, root in roots.items():
        start(ASK, root=root)  # begins, pins nothing before its step is asked
        assert systems(start(ASK, root=root)) == {"Hello.": "New." if taken else "Old."}
    stop(home, "rehearsed", "ask", **BY)
    again = start(ASK.replace("Hello.", "Hello again."), root=roots[True])
    assert systems(again) == {"Hello again.": "New."}
    assert systems(start(ASK)) == {"Hello.": "Old."}


def test_a_root_run_that_began_before_a_canary_has_none(start, saved, home_path):
    first = start(EACH)
    assert set(systems(first).values()) == {"Old."}
    try_out(Home(home_path), "rehearsed", "each.ask", saved("each.ask"), 0.9, **BY)
    again = start(EACH.replace('"{{ n }}"', '"again {{ n }}"'), root=first.run.info.root_run)
    assert set(systems(again).values()) == {"Old."}


def test_a_canary_made_for_another_text_of_the_yaml_is_not_used(start, saved, home_path):
    try_out(Home(home_path), "rehearsed", "each.ask", saved("each.ask"), 0.9, **BY)
    assert set(systems(start(EACH.replace("Old.", "Other."))).values()) == {"Other."}


def test_a_canary_edited_by_hand_is_refused_and_promoted_it_would_be_too(start, saved, home_path):
    home, version = Home(home_path), saved("ask")
    try_out(home, "rehearsed", "ask", version, 0.5, **BY)
    file = home.prompts / "rehearsed" / "ask" / f"{version}.json"
    file.write_text(file.read_text().replace("New.", "Worse."))
    with pytest.raises(StorageError, match="immutable"):
        start(ASK).all()
    with pytest.raises(StorageError, match="immutable"):
        promote(home, "rehearsed", "ask", version, **BY)
