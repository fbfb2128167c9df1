import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elexirion_dagster.codebase.analysis import Analysis, analyze_with
from elexirion_dagster.codebase.analyzers.base import Analyzer, Parsed, RawFinding
from elexirion_dagster.codebase.analyzers.catalog import ANALYZERS, DEFAULT, analyze
from elexirion_dagster.codebase.analyzers.snippets import finish
from elexirion_dagster.codebase.files import list_files
from elexirion_dagster.errors import Cancelled, InputError, PolicyError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.sandbox.policy import PROGRAMS_ONLY

DEEP = "x = " + "+".join(["a"] * 20_000)


def tree(root: Path, **files: str) -> Path:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    return root


def run(root: Path, tools: Sequence[str] = DEFAULT, **options: Any) -> Analysis:
    files = list_files(root, git=None).files
    known = {"workers": 2, "timeout_s": 120, "redactor": Redactor()}
    return analyze(files, root=root, tools=tools, **{**known, **options})


def found(analysis: Analysis) -> list[tuple[str, str, int]]:
    return [(finding.path, finding.rule, finding.line) for finding in analysis.findings]


def status(analysis: Analysis) -> dict[str, str]:
    return {tool["name"]: tool["status"] for tool in analysis.tools}


def script(code: str, **options: Any) -> Analyzer:
    """A real tool of the test's own: our Python with `code`, given the paths."""

    def command(executable: str, paths: Sequence[str], _scratch: Path) -> list[str]:
        return [executable, "-c", code, *paths]

    def parse(stdout: str, _stderr: str) -> Parsed:
        if not stdout.startswith("fine"):
            raise ValueError("not fine")
        return Parsed()

    name = Path(sys.executable).name
    return Analyzer(name, frozenset({"python"}), command, parse, good_exits=frozenset({0}), **options)


def run_script(root: Path, analyzer: Analyzer, timeout_s: float = 60) -> Analysis:
    files = list_files(root, git=None).files
    return analyze_with(
        [analyzer], files, root=root, workers=2, timeout_s=timeout_s, redactor=Redactor(), sandbox=PROGRAMS_ONLY
    )


def test_all_tools_together_give_findings_in_a_fixed_order(tmp_path: Path):
    root = tree(tmp_path, b="import os\nprint(undefined)\n", a="import subprocess\nsubprocess.call(x, shell=True)\n")
    (root / "c.js").write_text("eval(text)\n")

    analysis = run(root)

    assert found(analysis) == [
        ("a.py", "B404", 1),
        ("a.py", "B602", 2),
        ("a.py", "F821", 2),
        ("b.py", "F401", 1),
        ("b.py", "F821", 2),
        ("c.js", "js-eval", 1),
    ]
    assert set(status(analysis).values()) == {"ran"}
    assert all(tool["version"] and tool["reason"] is None for tool in analysis.tools)


def test_a_finding_has_its_place_its_words_and_its_source(tmp_path: Path):
    root = tree(tmp_path, a="def f():\n    grüße = call(\n        undefined,\n    )\n    return 1\n    print(grüße)\n")

    undefined = next(one for one in run(root, ["ruff"]).findings if "undefined" in one.message)
    dead = run(root, ["vulture"]).findings[0]

    assert (undefined.line, undefined.column, undefined.end_line, undefined.end_column) == (3, 9, 3, 17)
    assert (undefined.severity, undefined.confidence) == ("high", "high")
    assert undefined.snippet == "        undefined,"
    assert undefined.url is not None
    assert undefined.url.startswith("https://")
    assert (dead.rule, dead.severity, dead.line, dead.end_column) == ("unreachable-code", "medium", 6, 16)


def test_the_safe_fix_that_ruff_knows_stands_with_its_finding(tmp_path: Path):
    unused, asserted = run(tree(tmp_path, a="import os\n\n\nassert (1, 'x')\n"), ["ruff"]).findings
    assert unused.to_json()["fix"] == [{"line": 1, "column": 1, "end_line": 2, "end_column": 0, "text": ""}]
    assert asserted.to_json()["fix"] is None


def test_a_fix_that_would_carry_a_secret_is_left_out():
    def fix(text: str) -> object:
        edit = {"line": 1, "column": 1, "end_line": 1, "end_column": 1, "text": text}
        raw = RawFinding("F1", "low", "high", "a.py", 1, "m", 1, fix=(edit,))
        (finding,) = finish([("ruff", raw)], "a.py", "x = 1\n", Redactor())
        return finding.fix and finding.fix[0]["text"]

    assert fix("plain") == "plain"
    assert fix("sk-ant-api03-" + "Ab1" * 30) is None


def test_bandit_columns_count_characters_not_bytes(tmp_path: Path):
    (finding,) = run(tree(tmp_path, a="ü = 'äöü'; assert ü\n"), ["bandit"]).findings

    assert (finding.column, finding.end_column) == (12, 19)


def test_a_snippet_hash_ignores_white_space_and_line_numbers(tmp_path: Path):
    one = run(tree(tmp_path / "one", a="assert x\n"), ["bandit"]).findings[0]
    other = run(tree(tmp_path / "two", a="\n\nif y:\n        assert   x\n"), ["bandit"]).findings[0]

    assert (len(one.snippet_hash), one.snippet_hash) == (16, other.snippet_hash)


def test_secrets_are_in_no_message_and_no_snippet_even_across_lines(tmp_path: Path):
    key = "sk-ant-api03-" + "a1B2" * 20
    root = tree(tmp_path, a=f'undefined("{key}", {key[:3]!r})\npassword = "hunter2"\nprint(missing, "hunter2")\n')

    analysis = run(root, redactor=Redactor(secrets=[key]))

    said = "".join(finding.message + finding.snippet for finding in analysis.findings)
    assert key not in said
    assert "hunter2" not in said
    assert 'password = "[redacted:password]"' in said


def test_snippets_are_bounded_and_show_the_place_in_minified_code(tmp_path: Path):
    (tmp_path / "a.js").write_text("var x=1;" * 1000 + "eval(text);" + "var y=2;" * 1000)
    (tmp_path / "b.js").write_text("eval(f(\n" + "  1,\n" * 30 + "))\n")

    minified, tall = run(tmp_path, ["ast-grep"]).findings

    assert len(minified.snippet) == 2000
    assert "eval(text)" in minified.snippet
    assert tall.snippet.count("\n") == 9
    assert (tall.line, tall.end_line) == (1, 32)


def test_odd_names_reach_every_tool(tmp_path: Path):
    names = ["-rf.py", "a b.py", "line\nbreak.py", "quo\"te'.py", "ünï.py", "@args.py", "1:2: x.py", "\x7f.py"]
    for name in names:
        (tmp_path / name).write_text("import subprocess\ndef f():\n    return 1\n    g(undefined)\nassert f\n")
    analysis = run(tmp_path, ["ruff", "bandit", "vulture"])

    for rule in ("F821", "B101", "unreachable-code"):
        assert sorted({path for path, found_rule, _ in found(analysis) if found_rule == rule}) == sorted(names)


def test_more_names_than_an_argument_list_holds_reach_every_tool(tmp_path: Path):
    folder = tmp_path / ("d" * 200) / ("e" * 200)
    folder.mkdir(parents=True)
    for number in range(700):
        (folder / f"{'f' * 200}{number}.py").write_text("assert undefined\n")

    analysis = run(tmp_path, ["ruff", "bandit"])

    assert len(analysis.findings) == 1400


def test_hidden_and_ignored_files_that_were_listed_are_looked_at(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.js").write_text("eval(text)\n")
    (tmp_path / ".hidden" / "b.py").write_text("assert undefined\n")

    assert {finding.tool for finding in run(tmp_path).findings} == {"ast-grep", "bandit", "ruff"}


def test_files_that_no_parser_can_read_are_named_by_each_tool(tmp_path: Path):
    root = tree(tmp_path, bad="def f(:\n", good="assert undefined\n")
    (root / "latin.js").write_bytes(b"eval('\xff')\n")

    analysis = run(root)

    assert {(file["path"], file["tool"]) for file in analysis.unparsed} == {
        ("bad.py", "bandit"),
        ("bad.py", "ruff"),
        ("bad.py", "vulture"),
        ("latin.js", "ast-grep"),
    }
    assert found(analysis) == [("good.py", "B101", 1), ("good.py", "F821", 1)]


@pytest.mark.parametrize("tool", ["ruff", "vulture"])
def test_a_file_that_crashes_a_tool_costs_only_itself(tmp_path: Path, tool: str):
    root = tree(tmp_path, deep=DEEP)
    for number in range(30):
        (root / f"good{number}.py").write_text("def f():\n    return 1\n    g(f)\n")

    analysis = run(root, [tool])

    assert status(analysis) == {tool: "ran"}
    assert [(file["path"], file["tool"]) for file in analysis.unparsed] == [("deep.py", tool)]
    assert "crashed on it" in analysis.unparsed[0]["reason"]
    assert len(analysis.findings) == 30


def test_a_tool_that_always_crashes_is_failed_with_its_words_and_its_files_are_named(tmp_path: Path):
    root = tree(tmp_path, a="", b="")

    analysis = run_script(root, script("raise SystemExit('no licence found')"))

    (tool,) = analysis.tools
    assert tool["status"] == "failed"
    assert "no licence found" in tool["reason"]
    assert [file["path"] for file in analysis.unparsed] == ["a.py", "b.py"]


def test_a_tool_whose_output_cannot_be_read_is_failed(tmp_path: Path):
    (tool,) = run_script(tree(tmp_path, a=""), script("print('<html>')")).tools

    assert tool["status"] == "failed"
    assert "could not be read" in tool["reason"]


def test_a_tool_that_takes_too_long_is_failed_and_its_files_are_named(tmp_path: Path):
    analysis = run_script(tree(tmp_path, a=""), script("import time; time.sleep(600)"), timeout_s=0.5)

    assert [tool["status"] for tool in analysis.tools] == ["failed"]
    assert [file["path"] for file in analysis.unparsed] == ["a.py"]


def test_a_missing_tool_is_told_and_its_files_are_named(tmp_path: Path):
    root = tree(tmp_path, a="")
    absent = replace(ANALYZERS["ruff"], name="no-such-analyzer")

    analysis = run_script(root, absent)

    (tool,) = analysis.tools
    assert (tool["status"], tool["version"]) == ("missing", None)
    assert tool["reason"]
    assert [file["tool"] for file in analysis.unparsed] == ["no-such-analyzer"]


def test_a_tool_without_files_of_its_languages_says_so(tmp_path: Path):
    analysis = run(tree(tmp_path, a=""), ["ast-grep"])

    assert status(analysis) == {"ast-grep": "no files"}


def test_no_files_at_all_is_an_analysis_of_nothing(tmp_path: Path):
    assert set(status(run(tmp_path)).values()) == {"no files"}


def test_configuration_in_the_scanned_tree_changes_nothing(tmp_path: Path):
    root = tree(tmp_path, a="import subprocess\nassert undefined\ndef f():\n    return 1\n    g()\n")
    (root / "b.js").write_text("eval(text)\n")
    plain = found(run(root))
    (root / "ruff.toml").write_text('lint.select = []\nexclude = ["*"]\n')
    (root / "pyproject.toml").write_text('[tool.vulture]\nexclude = ["*"]\n[tool.ruff]\nexclude = ["*"]\n')
    (root / ".bandit").write_text("[bandit]\nskips = B101,B404\n")
    (root / "sgconfig.yml").write_text(
        "ruleDirs: [none]\ncustomLanguages: {x: {libraryPath: evil.so, extensions: [js]}}\n"
    )

    assert found(run(root)) == plain
    assert len(plain) >= 4


def test_no_tool_takes_the_scanned_tree_for_its_home_or_loads_code_from_it(tmp_path: Path):
    root = tree(tmp_path / "root", a="", json="raise SystemExit('loaded from the scanned tree')")
    code = (
        "import os, pathlib; home = pathlib.Path.home().resolve(); here = pathlib.Path.cwd().resolve();"
        "assert home != here and here not in home.parents; assert os.environ['PYTHONNOUSERSITE'] == '1';"
        "print('fine')"
    )

    assert [tool["status"] for tool in run_script(root, script(code)).tools] == ["ran"]
    assert status(run(root, ["bandit", "vulture"])) == {"bandit": "ran", "vulture": "ran"}


def test_a_suppression_in_the_source_is_honoured_as_its_tool_does(tmp_path: Path):
    root = tree(tmp_path, a="assert x  # nosec\n", b="import os  # noqa: F401\n")

    assert found(run(root, ["bandit", "ruff"])) == [("a.py", "F821", 1)]


def test_an_unknown_tool_is_refused_with_the_nearest_word(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        run(tmp_path, ["rufff"])
    assert "Did you mean ruff?" in str(caught.value)


def test_a_record_that_leads_out_of_the_root_is_refused(tmp_path: Path):
    with pytest.raises(PolicyError):
        analyze([{"path": "../a.py", "language": "python"}], root=tmp_path, workers=1, timeout_s=9, redactor=Redactor())


def test_a_file_that_went_away_since_it_was_listed_is_named(tmp_path: Path):
    root = tree(tmp_path, a="assert x\n", b="assert x\n")
    files = list_files(root, git=None).files
    (root / "a.py").unlink()

    analysis = analyze(files, root=root, tools=["bandit"], workers=1, timeout_s=60, redactor=Redactor())

    assert [(file["path"], file["reason"]) for file in analysis.unparsed] == [
        ("a.py", "there is no such file any more")
    ]
    assert found(analysis) == [("b.py", "B101", 1)]


def test_progress_ends_with_every_file_and_every_finding(tmp_path: Path):
    root = tree(tmp_path, **{f"m{number}": "assert undefined\n" for number in range(90)})
    told: list[tuple[int, int]] = []

    run(root, on_progress=lambda files, findings: told.append((files, findings)))

    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == (90, 180)


def test_a_cancelled_analysis_stops(tmp_path: Path):
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(Cancelled):
        run(tree(tmp_path, a="assert x\n"), cancelled=cancelled)
