"""The pages about the shipped pipelines and continuous integration say what is so."""

import re
import shlex
from pathlib import Path

import click
import pytest

from elexirion_dagster.cli.main import cli
from elexirion_dagster.codebase.analyzers.ast_grep import RULES
from elexirion_dagster.dialects.lookup import shipped
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.store import database
from elexirion_dagster.store.home import open_home
from elexirion_dagster.yamlio import load_text

DOCS = Path(__file__).parents[1] / "docs"
CI = (DOCS / "ci.md").read_text(encoding="utf-8")
PIPELINES = (DOCS / "pipelines.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"(?ms)^```yaml\n(.*?)^```", CI)


def commands_of(value, key=None):
    """Our commands among what a document runs."""
    if isinstance(value, dict):
        return [command for name, each in value.items() for command in commands_of(each, name)]
    if isinstance(value, list):
        return [command for each in value for command in commands_of(each)]
    return [value] if key in ("run", "entry") and value.startswith("elexirion ") else []


@pytest.mark.parametrize("text", SNIPPETS)
def test_every_snippet_is_yaml_whose_commands_the_program_takes(text):
    (command,) = commands_of(load_text(text).data)
    _, name, *words = shlex.split(command.partition(">")[0])
    found = cli.get_command(click.Context(cli), name)
    found.make_context(name, words, resilient_parsing=False)


def test_no_snippet_puts_what_others_write_into_a_script():
    assert not [line for line in CI.splitlines() if "run:" in line and "${{" in line]


def test_the_page_of_pipelines_names_each_of_them_and_each_rule():
    names = {file.stem for file in shipped().glob("*.yaml")}
    rules = {rule for file in RULES.glob("otp/*.yml") for rule in re.findall(r"(?m)^id: (.+)$", file.read_text())}
    assert {name for name in names | rules if f"`{name}`" not in PIPELINES} == set()
    assert set(re.findall(r"`(otp-[a-z-]+)`", PIPELINES)) == rules
    assert f"by {len(rules)} rules" in PIPELINES


def test_the_documented_questions_about_outcomes_can_be_asked(start, git_repository, home_path):
    verdict = {"finding": 2, "verdict": "confirmed", "explanation": "text is anybody's.", "fix": ""}
    rule = Rule(match='path| "src/shell.py"', data={"verdicts": [verdict], "problems": []})
    rehearsed = start((shipped() / "nightly_scan.yaml").read_text(), rules=[rule], repo=str(git_repository))
    rehearsed.all()
    rehearsed.run.close()
    home = open_home(home_path)
    database.ingest(home)
    answers, verdicts = re.findall(r"(?ms)^```sql\n(.*?)^```", PIPELINES)
    rows = database.query(home, answers, []).rows
    assert {row[0] for row in rows} >= {"review[src/shell.py].look", "review[src/clean.py].look"}
    ((path, rule, model, person, version),) = database.query(home, verdicts, []).rows
    assert (path, rule, model, person) == ("src/shell.py", "B602", "confirmed", None)
    assert version.startswith("yaml:")
