import json

import pytest

from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.promotions import pin, promote, try_out
from elexirion_dagster.store.registry.prompts import pointer, save, slot_hash

TEXT = """
name: review
model: fake
steps:
  - {name: look, type: llm, system: You review code., prompt: Look at it.}
"""
SLOT = ("review", "look")
BY = {"why": "measured", "by": "optimizer"}


@pytest.fixture
def home(home_path, pipeline):
    pipeline(TEXT)
    return open_home(home_path)


@pytest.fixture
def saved(home):
    def save_one(system, examples=(), scores=None):
        base = slot_hash("You review code.", [])
        return save(
            home,
            *SLOT,
            base_hash=base,
            system=system,
            examples=examples,
            parent=None,
            model="fake/fake",
            scores=scores or {"baseline": 0.5},
        ).hash

    return save_one


@pytest.fixture
def promoted(home, saved, pipeline):
    """Promote a version, then change the YAML."""

    def change(text):
        version = saved("One.")
        promote(home, *SLOT, version, **BY)
        pipeline(text)
        return version

    return change


@pytest.mark.usefixtures("here")
def test_without_versions_the_list_says_so(elexirion_here):
    assert "every step uses the text of its YAML" in elexirion_here("prompts", "list")[1]
    assert json.loads(elexirion_here("prompts", "list", "--json")[1]) == []


def test_a_version_is_listed_shown_compared_promoted_and_taken_back(elexirion_here, saved, home):
    first = saved("You review Python.", [{"prompt": "eval(x)", "answer": {"bad": True}}])
    assert elexirion_here("prompts", "promote", "review/look", first[:6], "--reason", "reads well")[0] == 0
    (one,) = json.loads(elexirion_here("prompts", "list", "--json")[1])
    assert (one["slot"], one["in_use"], one["state"], one["versions"]) == ("review/look", first, "current", 1)
    shown = elexirion_here("prompts", "show", "review/look")[1]
    assert "reads well" in shown
    assert "person" in shown
    assert '{"bad": true}' in elexirion_here("prompts", "show", "review/look", first[:4])[1]
    lines = elexirion_here("prompts", "diff", "review/look")[1].splitlines()
    assert lines[:2] == ["--- yaml", f"+++ {first}"]
    assert {"-You review code.", "+You review Python.", "+eval(x)"} <= {*lines}
    code, out, _ = elexirion_here("prompts", "rollback", "review/look", "--reason", "no")
    assert (code, out.strip()) == (0, "review/look uses the YAML's own text again")
    assert [change.what for change in pointer(home, *SLOT).history] == ["promote", "rollback"]
    code, _, err = elexirion_here("prompts", "rollback", "review/look")
    assert (code, "used nothing before" in err) == (2, True)


def test_a_canary_begins_is_listed_and_is_what_a_rollback_stops(elexirion_here, saved, home):
    first, second = saved("One."), saved("Two.")
    promote(home, *SLOT, first, **BY)
    assert "tries" in elexirion_here("prompts", "promote", "review/look", second, "--canary", "0.25")[1]
    assert f"{second} (25%)" in elexirion_here("prompts", "list")[1]
    assert "+Two." in elexirion_here("prompts", "diff", "review/look")[1]
    assert "stays in use" in elexirion_here("prompts", "rollback", "review/look")[1]
    now = pointer(home, *SLOT)
    assert (now.hash, now.canary) == (first, None)


def test_a_pinned_slot_is_changed_by_people_only(elexirion_here, saved, home):
    version = saved("One.")
    assert "pinned" in elexirion_here("prompts", "pin", "review/look", "--reason", "audit")[1]
    with pytest.raises(Exception, match="only people change it"):
        promote(home, *SLOT, version, **BY)
    with pytest.raises(Exception, match="only people change it"):
        try_out(home, *SLOT, version, 0.5, **BY)
    with pytest.raises(Exception, match="only people change it"):
        pin(home, *SLOT, **BY)
    assert elexirion_here("prompts", "promote", "review/look", version)[0] == 0
    assert pointer(home, *SLOT).pinned
    elexirion_here("prompts", "unpin", "review/look")
    try_out(home, *SLOT, saved("Two."), 0.5, **BY)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "review/lok"], "Did you mean 'review/look'?"),
        (["show", "nothing"], "PIPELINE/STEP was expected"),
        (["promote", "review/look", "ffff"], "no version begins with 'ffff'"),
        (["promote", "review/look", ""], "at least 4 characters"),
        (["promote", "../look", "yaml"], "PIPELINE/STEP was expected"),
        (["promote", "review/look", "yaml", "--canary", "0.5"], "cannot be a canary"),
        (["promote", "review/look", "yaml", "--canary", "1.5"], "not in the range"),
        (["show", "review/look", "0000"], "no version begins"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words_and_nothing_moves(elexirion_here, saved, home, words, told):
    saved("One.")
    code, _, err = elexirion_here("prompts", *words)
    assert (code, told in err) == (2, True), err
    assert pointer(home, *SLOT).history == ()


def test_a_version_edited_by_hand_is_refused_and_the_list_says_so(elexirion_here, saved, home):
    first, second = saved("One."), saved("Two.")
    promote(home, *SLOT, first, **BY)
    file = home.prompts / "review" / "look" / f"{second}.json"
    file.write_text(file.read_text().replace("Two.", "Too."))
    code, _, err = elexirion_here("prompts", "promote", "review/look", second)
    assert (code, "versions are immutable" in err) == (1, True)
    assert pointer(home, *SLOT).hash == first
    assert "versions are immutable" in elexirion_here("prompts", "show", "review/look")[1]
    promote(home, *SLOT, None, **BY)
    file = home.prompts / "review" / "look" / f"{first}.json"
    whole = file.read_text()
    promote(home, *SLOT, first, **BY)
    file.write_text(whole.replace("One.", "Won."))
    assert json.loads(elexirion_here("prompts", "list", "--json")[1])[0]["state"] == "damaged"


def test_a_damaged_pointer_is_listed_with_what_is_wrong(elexirion_here, saved, home):
    saved("One.")
    (home.prompts / "review" / "look" / "current").write_text('{"hash": 5, "history": []}')
    (one,) = json.loads(elexirion_here("prompts", "list", "--json")[1])
    assert (one["state"], "should hold `hash`" in one["note"]) == ("damaged", True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("You review code.", "You read code.", ("stale", "made for another text")),
        ("name: look", "name: see", ("gone", "no step 'look' that asks a model")),
        ("type: llm", "type: lllm", ("gone", "lllm")),
    ],
)
def test_a_version_whose_yaml_changed_is_not_promoted(elexirion_here, promoted, old, new, expected):
    first = promoted(TEXT.replace(old, new))
    (one,) = json.loads(elexirion_here("prompts", "list", "--json")[1])
    assert one["state"] == expected[0]
    code, _, err = elexirion_here("prompts", "promote", "review/look", first)
    assert (code, expected[1] in err) == (2, True), err
    assert json.loads(elexirion_here("prompts", "list", "--json")[1]) == [one]


def test_a_slot_whose_pipeline_is_gone_is_listed_and_can_still_be_rolled_back(elexirion_here, saved, home, pipeline):
    promote(home, *SLOT, saved("One."), **BY)
    pipeline(TEXT).unlink()
    (one,) = json.loads(elexirion_here("prompts", "list", "--json")[1])
    assert (one["state"], "no pipeline 'review' any more" in one["note"]) == ("gone", True)
    assert "no pipeline 'review' any more" in elexirion_here("prompts", "show", "review/look", "yaml")[2]
    assert elexirion_here("prompts", "rollback", "review/look")[0] == 0


def test_what_a_model_wrote_cannot_act_on_the_terminal(elexirion_here, saved, home):
    version = saved("Red \x1b[31m alert")
    promote(home, *SLOT, version, **BY)
    for words in (["show", "review/look", version], ["diff", "review/look"]):
        out = elexirion_here("prompts", *words)[1]
        assert "\\x1b[31m" in out
        assert "\x1b[31m" not in out
