import json
import os

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import StepError, StepResult, ToolResultBlock, Usage
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import OpenIntent, Replay, reply_from_json, reply_to_json


def call(call_id="c", path="review[src/a.py].look", occurrence=0):
    return {
        "call_id": call_id,
        "path": path,
        "request_hash": "h",
        "occurrence": occurrence,
        "provider": "fake",
        "model": "m",
    }


def write(home, *entries, run="run"):
    with JournalWriter(home, root_run="root", run=run) as writer:
        for kind, fields in entries:
            writer.append(kind, **fields)


def reply_line(reply, **where):
    line = call(**where)
    return "reply", {**line, "reply": reply_to_json(reply), "prompt": [], "inputs": {}, "prompt_version": None}


def intent_line(**where):
    return "intent", {**call(**where), "attempt": 1, "max_usd": 0.5, "max_tokens": 100}


def step_line(status, path="a", input_hash="i", **fields):
    result = StepResult(status, **fields)
    names = {"path": path, "step": path, "step_type": "set", "status": status, "input_hash": input_hash}
    return "step", {**names, "result": result.to_json(), "started_at": None, "duration_s": 0.1}


def test_a_reply_comes_back_as_it_was_thinking_verbatim(reply):
    assert reply_from_json(reply_to_json(reply)) == reply


def test_every_kind_of_block_comes_back(reply, home):
    from dataclasses import replace

    whole = replace(reply, blocks=(*reply.blocks, ToolResultBlock("t1", "no \ud800", is_error=True)))
    write(home, reply_line(whole))
    assert Replay.load(home, "root").reply("review[src/a.py].look", "h", 0) == whole


def test_a_reply_is_found_by_path_hash_and_occurrence_only(home, reply):
    write(home, reply_line(reply, occurrence=1))
    replay = Replay.load(home, "root")
    assert replay.reply("review[src/a.py].look", "h", 1) == reply
    assert replay.reply("review[src/a.py].look", "h", 0) is None
    assert replay.reply("review[src/b.py].look", "h", 1) is None
    assert replay.reply("review[src/a.py].look", "other", 1) is None


def test_replies_of_all_runs_under_the_root_are_found(home, reply):
    write(home, reply_line(reply, path="a"), run="first")
    write(home, reply_line(reply, path="b"), run="recovery")
    replay = Replay.load(home, "root")
    assert replay.reply("a", "h", 0) == replay.reply("b", "h", 0) == reply


@pytest.mark.parametrize("status", ["succeeded", "degraded", "skipped"])
def test_a_finished_step_comes_back(home, status):
    write(home, step_line(status, data={"x": [1]}, text="t", usage=Usage(1, 2), vars={"v": 1}))
    found = Replay.load(home, "root").step("a", "i")
    assert found == StepResult(status, data={"x": [1]}, text="t", usage=Usage(1, 2), vars={"v": 1})


def test_a_failed_step_or_one_of_other_inputs_is_not_finished(home):
    write(home, step_line("failed", error=StepError("timeout", "slow")), step_line("succeeded", path="b"))
    replay = Replay.load(home, "root")
    assert replay.step("a", "i") is None
    assert replay.step("b", "other") is None


def test_the_first_pin_holds_whichever_file_it_is_in(home):
    write(home, ("pin", {"name": "model", "value": "first"}), run="m")
    write(home, ("pin", {"name": "model", "value": "second"}), ("pin", {"name": "x", "value": None}), run="a")
    write(home, ("pin", {"name": "model", "value": "third"}), run="z")
    assert dict(Replay.load(home, "root").pins) == {"model": "first", "x": None}


def test_an_intent_without_an_end_is_open(home, reply):
    write(
        home,
        intent_line(call_id="answered"),
        reply_line(reply, call_id="answered"),
        intent_line(call_id="failed"),
        ("call_failed", {**call(call_id="failed"), "cause": "timeout"}),
        intent_line(call_id="open", path="p", occurrence=3),
    )
    assert Replay.load(home, "root").open_intents == (OpenIntent("open", "p", "h", 3, 1, "fake", "m", 0.5, 100),)


def test_corrupt_lines_are_counted_and_do_not_hide_the_rest(home, reply):
    write(home, reply_line(reply, path="a"))
    (file,) = (home.journal / "root").iterdir()
    with file.open("ab") as stream:
        stream.write(b'nonsense\n{"v":1,"kind":"reply"}\n{"v":1,"kind":"pin","name":[],"ts":"","value":1}\n')
    write(home, reply_line(reply, path="b"))
    replay = Replay.load(home, "root")
    assert replay.skipped == 3
    assert replay.reply("a", "h", 0) == replay.reply("b", "h", 0) == reply


def test_kinds_that_are_not_looked_up_are_no_corruption(home):
    write(home, ("progress", {"done": 1}), ("run_finished", {"status": "failed"}))
    assert Replay.load(home, "root") == Replay()


def test_a_newer_format_is_refused(home):
    folder = home.journal / "root"
    folder.mkdir()
    (folder / f"run.{os.getpid()}.jsonl").write_text('{"v":9}\n')
    with pytest.raises(StorageError):
        Replay.load(home, "root")


def test_an_unknown_run_knows_nothing(home):
    assert Replay.load(home, "root") == Replay()


def test_how_long_a_root_run_has_worked_is_told_by_its_lines_and_not_by_what_others_say_later(home):
    folder = home.journal / "root"
    folder.mkdir()
    at = "2026-11-22T10:{}Z".format
    said = [("one", "progress", at("00:00.000000")), ("one", "progress", at("01:30.000000"))]
    said += [("two", "progress", at("05:00.500000")), ("two", "progress", at("05:01.000000"))]
    said += [("two", "run_finished", at("30:00.000000")), ("three", "progress", "yesterday")]
    lines = [json.dumps({"v": 1, "kind": kind, "ts": ts, "root_run": "root", "run": run}) for run, kind, ts in said]
    (folder / "one.1.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert Replay.load(home, "root").seconds == 90.5
