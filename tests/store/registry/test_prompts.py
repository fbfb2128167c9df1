import json
import threading

import pytest

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.attempts import add_attempt, attempts
from elexirion_dagster.store.registry.promotions import promote, rollback, stop, try_out
from elexirion_dagster.store.registry.prompts import (
    PromptVersion,
    Stale,
    current,
    pointer,
    read,
    save,
    slot_hash,
    slots,
    versions,
)

SAID = {"why": "better", "by": "person"}
BASE = slot_hash("You review code.", [])


def saved(home, system="Better.", base_hash=BASE):
    texts = {"system": system, "examples": [{"in": "é", "out": 1}], "scores": {"exact": 0.5}}
    return save(home, "review", "look", base_hash=base_hash, parent=None, model="fake/m", **texts)


def folder(home):
    return home.prompts / "review" / "look"


def test_without_a_version_the_yaml_is_used(home):
    assert current(home, "review", "look", base_hash=BASE) is None
    saved(home)
    assert current(home, "review", "look", base_hash=BASE) is None


def test_a_promoted_version_is_current_and_reads_back_whole(home):
    version = saved(home)
    promote(home, "review", "look", version.hash, **SAID)
    expected = PromptVersion(
        version.hash, "review", "look", None, "fake/m", "Better.", ({"in": "é", "out": 1},), {"exact": 0.5}, BASE
    )
    assert current(home, "review", "look", base_hash=BASE) == expected


def test_a_version_derived_from_another_text_is_stale(home):
    version = saved(home)
    promote(home, "review", "look", version.hash, **SAID)
    now = slot_hash("You review code carefully.", [])
    assert current(home, "review", "look", base_hash=now) == Stale(version, now)


def test_rolling_back_is_promoting_an_earlier_version_or_the_yaml(home):
    first, second = saved(home, "One."), saved(home, "Two.")
    for each in (first.hash, second.hash, first.hash, None):
        promote(home, "review", "look", each, **SAID)
    assert current(home, "review", "look", base_hash=BASE) is None
    history = json.loads((folder(home) / "current").read_text())["history"]
    assert [change["hash"] for change in history] == [first.hash, second.hash, first.hash, None]


def test_the_same_content_is_the_same_version_and_other_content_another(home):
    assert saved(home) == saved(home)
    assert saved(home, "Other.").hash != saved(home).hash
    assert len(list(folder(home).glob("*.json"))) == 2


@pytest.mark.parametrize("one", [("a", []), (None, ["a"]), ("", []), ("a", [{"x": 1}])])
def test_slots_that_differ_have_different_hashes(one):
    slots = [("a", []), (None, ["a"]), ("", []), (None, []), ("a", [{"x": 1}]), ("b", [])]
    assert [slot for slot in slots if slot_hash(*slot) == slot_hash(*one)] == [one]


@pytest.mark.parametrize("change", [("Better.", "Worse."), ('"scores"', '"sores"'), ("{", "["), ("0.5", "0.9")])
def test_a_version_edited_by_hand_is_refused(home, change):
    version = saved(home)
    promote(home, "review", "look", version.hash, **SAID)
    path = folder(home) / f"{version.hash}.json"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(StorageError, match=r"immutable|JSON object"):
        current(home, "review", "look", base_hash=BASE)


def test_a_version_that_does_not_exist_cannot_be_promoted(home):
    with pytest.raises(InputError, match="no prompt version"):
        promote(home, "review", "look", "0123456789abcdef", **SAID)
    with pytest.raises(InputError):
        read(home, "review", "look", "../../../etc/passwd")
    assert current(home, "review", "look", base_hash=BASE) is None


def test_names_that_are_paths_are_refused(home):
    with pytest.raises(InputError):
        current(home, "..", "look", base_hash=BASE)


def test_a_damaged_pointer_is_told(home):
    promote(home, "review", "look", saved(home).hash, **SAID)
    (folder(home) / "current").write_text("{}")
    with pytest.raises(StorageError, match="should hold `hash`"):
        current(home, "review", "look", base_hash=BASE)


def test_promotions_at_the_same_time_all_stay_in_the_history(home):
    versions = [saved(home, f"{number}").hash for number in range(8)]
    threads = [threading.Thread(target=promote, args=(home, "review", "look", each), kwargs=SAID) for each in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pointer = json.loads((folder(home) / "current").read_text())
    assert sorted(change["hash"] for change in pointer["history"]) == sorted(versions)
    assert pointer["hash"] == pointer["history"][-1]["hash"]


def test_a_pointer_without_canary_pin_and_reasons_is_still_read(home):
    first, second = saved(home, "One.").hash, saved(home, "Two.").hash
    history = [{"hash": first, "at": "2026-01-01T00:00:00+00:00"}, {"hash": second, "at": "2026-01-02T00:00:00+00:00"}]
    (folder(home) / "current").write_text(json.dumps({"hash": second, "history": history}))
    now = pointer(home, "review", "look")
    assert (now.hash, now.canary, now.pinned, now.before) == (second, None, False, (None, first))
    assert rollback(home, "review", "look", **SAID) == first
    assert [change.what for change in pointer(home, "review", "look").history] == ["promote", "promote", "rollback"]


def test_rolling_back_goes_down_what_was_promoted_to_the_yaml_and_no_further(home):
    for text in ("One.", "Two.", "Three."):
        promote(home, "review", "look", saved(home, text).hash, **SAID)
    came = [rollback(home, "review", "look", **SAID) for _ in range(3)]
    assert came == [saved(home, "Two.").hash, saved(home, "One.").hash, None]
    with pytest.raises(InputError, match="used nothing before"):
        rollback(home, "review", "look", **SAID)


def test_nothing_is_rolled_back_to_a_version_that_was_edited_by_hand(home):
    first = saved(home, "One.").hash
    for each in (first, saved(home, "Two.").hash):
        promote(home, "review", "look", each, **SAID)
    path = folder(home) / f"{first}.json"
    path.write_text(path.read_text().replace("One.", "Won."))
    with pytest.raises(StorageError, match="immutable"):
        rollback(home, "review", "look", **SAID)
    assert pointer(home, "review", "look").hash == saved(home, "Two.").hash


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, float("nan")])
def test_a_canary_has_a_share_between_0_and_1(home, share):
    with pytest.raises(InputError, match="between 0 and 1"):
        try_out(home, "review", "look", saved(home).hash, share, **SAID)
    assert pointer(home, "review", "look").history == ()


def test_what_is_in_use_cannot_be_tried_out_and_where_no_canary_runs_none_is_stopped(home):
    promote(home, "review", "look", saved(home).hash, **SAID)
    with pytest.raises(InputError, match="in use already"):
        try_out(home, "review", "look", saved(home).hash, 0.1, **SAID)
    with pytest.raises(InputError, match="no canary"):
        stop(home, "review", "look", **SAID)


def test_what_was_decided_by_an_older_pointer_is_refused(home):
    seen = pointer(home, "review", "look")
    promote(home, "review", "look", saved(home, "One.").hash, **SAID)
    with pytest.raises(InputError, match="changed meanwhile"):
        promote(home, "review", "look", saved(home, "Two.").hash, seen=seen, **SAID)
    assert pointer(home, "review", "look").hash == saved(home, "One.").hash


def test_slots_and_versions_are_listed_in_the_order_in_which_they_were_saved(home):
    saves = [saved(home, text) for text in ("Z", "A", "M", "Z")]
    assert versions(home, "review", "look") == tuple(saves[:3])
    assert slots(home) == (("review", "look"),)


def test_attempts_are_kept_in_order_and_a_damaged_account_is_told(home):
    about = {"base_hash": BASE, "holdout": "h", "n": 60, "alpha": 0.025}
    kept = [
        add_attempt(home, "review", "look", p_value=0.2, passed=False, **about),
        add_attempt(home, "review", "look", p_value=None, passed=True, **about),
    ]
    assert list(attempts(home, "review", "look")) == kept
    assert versions(home, "review", "look") == ()
    (folder(home) / "attempts").write_text('{"attempts": [{"at": 1}]}')
    with pytest.raises(StorageError, match="list of attempts"):
        attempts(home, "review", "look")


def test_a_read_only_registry_is_told(open_folder, read_only):
    home = open_home(open_folder / "home")
    home.path.chmod(0o755)
    with read_only(home.prompts), pytest.raises(StorageError, match="Permission denied"):
        saved(home)
