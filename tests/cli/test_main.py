"""What every command prints, where, and with which exit code; a user's mistake is never a stack trace."""

import json
import os
from pathlib import Path

import pytest
from commands import GOOD

from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

NEEDY = "name: needy\ninputs: {goal: {type: string}}\nsteps:\n- {name: a, type: set, vars: {x: '{{ inputs.goal }}'}}\n"


ASKING = """
name: asking
budget: {usd: 0.5}
steps:
  - {name: a, type: llm, prompt: Hi.}
outputs: {text: "{{ steps.a.text }}"}
"""


FAILING = "name: failing\nsteps:\n- {name: a, type: command, run: ['false']}\n"


@pytest.mark.parametrize("word", ["--help", "-h", "--version"])
def test_help_and_version_are_no_failure(elexirion_here, word):
    code, out, _ = elexirion_here(word)
    assert code == 0
    assert "elexirion" in out


@pytest.mark.parametrize("words", [["nonsense"], ["run"], ["run", "good", "--nonsense"], ["up", "--port", "x"]])
def test_a_wrong_command_line_is_told_on_standard_error(elexirion_here, words):
    code, out, err = elexirion_here(*words)
    assert (code, out) == (2, "")
    assert err


def test_a_run_shows_its_outputs_and_where_it_is_recorded(elexirion_here, pipeline):
    pipeline(GOOD)
    code, out, err = elexirion_here("run", "good", "count=3")
    assert code == 0
    assert "twice: 6" in out
    assert "succeeded" in out
    assert "good asks no model" in err


def test_json_of_a_run_is_the_whole_of_standard_output(elexirion_here, pipeline):
    code, out, _ = elexirion_here("run", pipeline(GOOD), "--json")
    record = json.loads(out)
    assert code == 0
    assert (record["status"], record["outputs"], record["cause"]) == ("succeeded", {"twice": 4}, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "goood"], "Did you mean 'good'?"),
        (["run", "no/such/file.yaml"], "does not exist"),
        (["run", "good", "count=many"], "count must be an integer"),
        (["run", "good", "mood=angry"], "calm"),
        (["run", "good", "colour=red"], "Its inputs: count="),
        (["run", "good", "count"], "expected KEY=VALUE, got 'count'"),
        (["run", "good", "--model", "x/y", "--no-model"], "exclude each other"),
        (["run", "asking", "--stream", "--json"], "exclude each other"),
        (["run", "asking", "--model", "nobody/model"], "nobody"),
        (["run", "asking", "--model", "anthropic/claude-sonnet-5-5"], "ANTHROPIC_API_KEY"),
        (["run", "needy"], "needs the input goal"),
        (["scan", "no_such_folder"], "is no folder"),
        (["scan", "pipelines_yaml/good.yaml"], "is no folder"),
    ],
)
def test_a_wrong_input_is_told_before_anything_runs(elexirion_here, pipeline, home_path, words, expected):
    for text in (GOOD, NEEDY, ASKING):
        pipeline(text)
    code, out, err = elexirion_here(*words)
    assert (code, out) == (2, "")
    assert expected in err
    assert not list(home_path.glob("journal/*"))


def test_a_name_that_nothing_has_is_a_problem_like_any_other_to_check(elexirion_here, pipeline):
    pipeline(GOOD)
    code, out, err = elexirion_here("check", "goood", "good", "--json")
    (problem,) = json.loads(out)
    assert (code, err) == (2, "")
    assert (problem["level"], problem["file"], problem["mend"]) == ("error", "goood", "Did you mean 'good'?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: bad\nsteps: [\n", "bad.yaml:"),
        ("name: bad\nsteps:\n- {name: a, type: set, varz: {x: 1}}\n", "Did you mean 'vars'?"),
        ("name: bad\nsteps:\n- {name: a, type: llm, prompt: '{{ steps.b.text }}'}\n", "bad.yaml:3"),
        ("name: bad\nsteps: {}\n", "bad.yaml:2"),
        (
            "name: bad\ninputs: {n: {type: integer, default: x}}\nsteps:\n- {name: a, type: set, vars: {x: 1}}\n",
            "bad.yaml:2",
        ),
    ],
    ids=["torn", "unknown_key", "unknown_reference", "wrong_type", "wrong_default"],
)
def test_a_faulty_pipeline_is_told_with_its_line(elexirion_here, pipeline, text, expected):
    file = pipeline(text)
    for words in (["run", file], ["check", file]):
        code, out, err = elexirion_here(*words)
        assert code == 2
        assert expected in out + err


def test_check_lists_problems_as_json_and_counts_none_for_good_files(elexirion_here, pipeline):
    good, bad = pipeline(GOOD), pipeline("name: bad\nstepz: []\n")
    code, out, _ = elexirion_here("check", good, bad, "--json")
    problems = json.loads(out)
    assert code == 2
    assert {Path(problem["file"]).name for problem in problems} == {"bad.yaml"}
    assert all(problem["level"] == "error" and problem["line"] for problem in problems)
    assert elexirion_here("check", good)[0] == 0


def test_list_shows_inputs_and_broken_files(elexirion_here, pipeline):
    pipeline(GOOD)
    pipeline("name: bad\nstepz: []\n")
    code, out, _ = elexirion_here("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["good"]["inputs"]["count"]["default"] == 2
    assert "bad.yaml" in rows["bad"]["error"]
    assert "nightly_scan" in rows
    assert "good" in elexirion_here("list")[1]


def test_the_schema_is_a_json_schema_of_pipelines(elexirion_here):
    schema = json.loads(elexirion_here("schema")[1])
    assert "steps" in schema["properties"]


def test_init_prints_what_a_shell_can_evaluate(elexirion_here, home_path):
    code, out, err = elexirion_here("init")
    assert (code, out) == (0, f"export DAGSTER_HOME={home_path / 'dagster'}\n")
    assert "wrote" in err
    assert "found" in elexirion_here("init")[2]


def test_doctor_names_what_is_missing_and_how_to_mend_it(elexirion_here):
    _, out, _ = elexirion_here("doctor", "--json")
    rows = {row["subject"]: row for row in json.loads(out)}
    assert rows["home"]["ok"]
    assert rows["model provider anthropic"]["mend"] == "Set ANTHROPIC_API_KEY."
    assert "ANTHROPIC_API_KEY" in elexirion_here("doctor")[1]


def test_prune_says_what_it_removed(elexirion_here):
    code, out, _ = elexirion_here("prune", "--older-than", "0")
    assert code == 0
    assert out.startswith("removed 0 workspaces")


def test_outcomes_answer_sql_as_json_rows_and_refuse_to_write(elexirion_here, pipeline):
    pipeline(ASKING)
    assert elexirion_here("run", "asking", "--model", "fake/parrot")[0] == 0
    code, out, _ = elexirion_here("outcomes", "--json", "--sql", "SELECT pipeline, status FROM runs")
    assert (code, json.loads(out)) == (0, [{"pipeline": "asking", "status": "succeeded"}])
    assert json.loads(elexirion_here("outcomes", "--json")[1])[0]["model"] == "fake/parrot"
    assert "asking" in elexirion_here("outcomes")[1]
    for sql in ("DELETE FROM runs", "SELECT nonsense FROM runs", "SELEKT 1", "ATTACH 'x.db'"):
        code, out, err = elexirion_here("outcomes", "--sql", sql)
        assert (code, out) == (2, "")
        assert "error:" in err


def test_a_failed_run_is_1_and_says_why(elexirion_here, pipeline):
    code, out, err = elexirion_here("run", pipeline(FAILING))
    assert code == 1
    assert "failed" in out
    assert "exit code 1" in err
    record = json.loads(elexirion_here("run", "failing", "--json")[1])
    assert (record["status"], record["cause"]) == ("failed", "command_failed")


def test_a_budget_that_is_used_up_is_3(elexirion_here, pipeline, monkeypatch):
    pipeline(ASKING.replace("0.5", "0.0000001"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-not-a-key")
    with RehearsalServer() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        code, _, err = elexirion_here("run", "asking")
        assert server.count == 0
    assert code == 3
    assert "budget" in err


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_budget_in_dollars_and_an_unknown_price_is_3_before_anything_runs(
    elexirion_here, pipeline, monkeypatch, as_json
):
    first = "steps:\n  - {name: touched, type: files, write: {path: x.txt, text: x}}"
    pipeline(ASKING.replace("steps:", first))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-not-a-key")
    code, out, err = elexirion_here("run", "asking", "--model", "anthropic/claude-of-tomorrow", *as_json)
    assert code == 3
    assert "the price of anthropic/claude-of-tomorrow is not known" in out + err
    assert "ELEXIRION_PRICES" in out + err
    assert elexirion_here("outcomes", "--sql", "select count(*) as steps from steps", "--json")[1].count("0") == 1


def test_a_wrong_key_is_told_with_the_variable_to_set(elexirion_here, pipeline, monkeypatch):
    pipeline(ASKING)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-abcdefghijklmnopqrstuvwxyz")
    refused = Script.model_validate({"faults": [{"kind": "status", "status": 401, "type": "authentication_error"}]})
    with RehearsalServer(refused) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        code, out, err = elexirion_here("run", "asking")
        assert server.count == 1
    assert code == 1
    assert "ANTHROPIC_API_KEY" in err
    assert "abcdefghijklmnop" not in out + err


def test_a_streamed_run_shows_the_answer_s_lines_while_it_works(elexirion_here, pipeline, monkeypatch):
    pipeline(ASKING)
    with RehearsalServer(Script.model_validate({"answers": [{"text": "One line.\nAnother."}]})) as server:
        monkeypatch.setenv("ELEXIRION_LOCAL_URL", f"{server.base_url}/v1")
        code, out, err = elexirion_here("run", "asking", "--model", "local/some-model", "--stream")
        assert [request.body["stream"] for request in server.requests] == [True]
    assert code == 0
    assert err.index("a | One line.") < err.index("a | Another.")
    assert "a | " not in out


def test_the_model_and_the_ceiling_are_told_before_the_run(elexirion_here, pipeline):
    pipeline(ASKING.replace("budget", "model: fake/parrot\nbudget"))
    assert "Model: fake/parrot; at most $0.50" in elexirion_here("run", "asking")[2]
    assert "as you asked" in elexirion_here("run", "asking", "--no-model")[2]


def test_an_empty_folder_without_git_is_scanned_and_said_to_have_no_git(elexirion_here, here):
    (here / "empty").mkdir()
    code, out, _ = elexirion_here("scan", "empty", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["outputs"]["files"] == 0
    assert "git" in record["outputs"]["note"]
    assert Path(record["reports"]["html"]).is_file()


def test_a_scan_writes_every_report_and_says_where(elexirion_here, git_repository):
    code, out, _ = elexirion_here("scan", git_repository)
    assert code == 0
    assert "B602" in out
    for kind in ("html", "json", "md", "sarif"):
        assert f"report.{kind}" in out


def test_names_that_are_no_text_do_not_stop_a_scan(elexirion, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.py")).write_text("import pickle\npickle.loads(b'')\n")
    done = elexirion("scan", folder, "--json")
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)["outputs"]
    assert outputs["files"] + len(outputs["skipped"]) == 1
