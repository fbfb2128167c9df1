"""Secrets given as inputs, tags and defaults: no way in leaves one in a home, and the run works on the mask."""

import json
import uuid

import dagster as dg
import pytest
from kept_bytes import places

from elexirion_dagster.operations.launch import execute
from elexirion_dagster.redact import kinds
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home

TOKEN = "shpat_" + "0123456789abcdef" * 2
MASK = "[redacted:shopify_token]"
DEFAULT = "dop_v1_" + "0123456789abcdef" * 4
TEXT = f"""
name: given
description: Uses {DEFAULT}.
tags: {{team: {DEFAULT}}}
inputs:
  word: {{type: string, default: {DEFAULT}}}
  words: {{type: list, default: []}}
  table: {{type: object, default: {{}}}}
model: fake
steps:
- {{name: ask, type: llm, prompt: "{{{{ inputs.word }}}} {{{{ inputs.words }}}} {{{{ inputs.table }}}} {DEFAULT}"}}
- {{name: shell, type: command, run: [echo, "{{{{ inputs.word }}}}"], output_to: said.txt}}
- {{name: each, type: for_each, items: "{{{{ inputs.words }}}}", steps: [
    {{name: one, type: set, vars: {{x: "{{{{ item }}}}"}}}}]}}
outputs: {{word: "{{{{ inputs.word }}}}", said: "{{{{ steps.shell.text }}}}"}}
"""


@pytest.fixture
def file(tmp_path):
    place = tmp_path / "given.yaml"
    place.write_text(TEXT, encoding="utf-8")
    return place


def config_of(home, run):
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return instance.get_run_by_id(run)


def test_no_secret_of_any_kind_is_kept_of_inputs_and_tags(file, home_path, capfd):
    """Every known kind at once: as a text, in a list, as a key and a value of a map, in a tag, as a default."""
    secrets = ["".join(secret) for kind in kinds() if not kind.is_named for _, *secret, _ in kind.masked]
    texts = ["".join(parts) for kind in kinds() if not kind.is_named for parts in kind.masked]
    run = str(uuid.uuid4())
    inputs = {"word": TOKEN, "words": texts, "table": {text: {"password": text} for text in texts}}
    finished = execute(file, inputs, run_id=run, tags={"note": TOKEN}, settings=Settings(home=home_path))
    ingest(open_home(home_path))
    assert (finished.status, finished.outputs) == ("succeeded", {"word": MASK, "said": f"{MASK}\n"})
    kept = config_of(home_path, run)
    assert (kept.run_config["word"], kept.tags["note"]) == (MASK, MASK)
    assert places(home_path, *(secret for secret in [*secrets, TOKEN, DEFAULT] if len(secret) > 12)) == []
    assert TOKEN not in "".join(capfd.readouterr())


def test_the_command_line_masks_inputs_and_says_so(elexirion, file, home_path):
    done = elexirion("run", file, f"word={TOKEN}", f"words=[{TOKEN}]", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["outputs"]["word"] == MASK
    assert "its inputs: word, words." in done.stderr
    assert "`env:`" in done.stderr
    assert config_of(home_path, record["run"]).run_config == {"word": MASK, "words": [MASK]}
    wrong = elexirion("run", file, f"table={TOKEN}")
    assert wrong.returncode == 2
    unknown = elexirion("run", file, f"wrod={TOKEN}")
    assert TOKEN not in f"{done.stdout}{done.stderr}{wrong.stderr}{unknown.stderr}"
    assert places(home_path, TOKEN) == []


def test_a_run_of_dagsters_own_server_is_masked_when_it_starts(file, home_path):
    """There the row is as it was given; the run, its journal and its results know the mask only."""
    settings, run = Settings(home=home_path), str(uuid.uuid4())
    execute(file, {}, run_id=str(uuid.uuid4()), tags={}, settings=settings)
    from elexirion_dagster.definitions import job_of_file

    with dg.DagsterInstance.from_config(str(home_path / "dagster")) as instance:
        result = job_of_file(file, settings).execute_in_process(
            run_config={"word": TOKEN}, instance=instance, run_id=run
        )
        warned = [entry.user_message for entry in instance.all_logs(run) if "sees a mask" in entry.user_message]
    assert result.success
    assert len(warned) == 1
    assert "its inputs: word." in warned[0]
    assert {place for place in places(home_path, TOKEN) if "history/runs.db" not in place} == set()
