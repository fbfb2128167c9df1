"""Files and findings as they live from night to night, from journal lines to tables."""

import shutil

import duckdb
import pytest
from scanned import PIPELINE, REPO, found

from elexirion_dagster.records import line_marks
from elexirion_dagster.store import migrations
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.nights.scans import known_files, next_night

pytestmark = pytest.mark.slow


def test_known_files_are_those_of_the_last_scan_that_did_not_fail(repository):
    repository.scan({"a.py": "1", "b.py": "1", "c.py": "1"})
    repository.scan({"a.py": "2", "b.py": "failed", "d.py": "failed"}, deleted=["c.py"])
    known = known_files(repository.home, PIPELINE, REPO)
    assert {path: (file.blob, file.status) for path, file in known.items()} == {
        "a.py": ("blob of 2", "scanned"),
        "b.py": ("blob of 1", "failed"),
    }
    assert known["a.py"].ruleset == "rules"
    assert known_files(repository.home, "other", REPO) == {}


def test_what_is_known_of_a_renamed_file_goes_with_it_also_where_names_are_swapped(repository):
    repository.scan({"a.py": "1", "b.py": "2", "c.py": "3"})
    repository.scan({}, renamed={"a.py": "b.py", "b.py": "a.py", "c.py": "d.py"})
    known = known_files(repository.home, PIPELINE, REPO)
    assert {path: file.blob for path, file in known.items()} == {
        "a.py": "blob of 2",
        "b.py": "blob of 1",
        "d.py": "blob of 3",
    }


def test_the_number_of_a_scan_follows_the_highest_one_known(repository):
    assert next_night(repository.home, PIPELINE, REPO) == 1
    repository.scan({"a.py": "1"})
    assert next_night(repository.home, PIPELINE, REPO) == 2
    assert next_night(repository.home, "other", REPO) == 1


def everything(home):
    asked = ("SELECT * EXCLUDE (before) FROM files", "FROM nights", "FROM finding_states")
    return {sql: sorted(map(repr, query(home, sql).rows)) for sql in asked}


def history(repository):
    """Seven nights, some in two batches, with everything that can befall a file."""
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py", "S1")])
    repository.scan({"c.py": "1"}, findings=[found("c.py", "S2")], same_night=True)
    repository.scan({"a.py": "2"}, findings=[])
    repository.scan({"d.py": "1"}, findings=[found("d.py", "S1")], renamed={"b.py": "d.py"})
    repository.scan({"c.py": "failed"}, same_night=True)
    repository.scan({"a.py": "3"}, findings=[found("a.py"), found("a.py", number=2)])
    repository.scan({"e.py": "1"}, findings=[found("e.py", "S2")], deleted=["c.py"])
    reviewed(repository, "return run(text)\n", *named(1))
    reviewed(repository, "\nreturn run(text)\n")


@pytest.mark.parametrize("order", [1, -1, 3, -2], ids=["forth", "back", "mixed", "mixed back"])
def test_the_order_in_which_journal_files_arrive_does_not_matter(repository, tmp_path, order):
    history(repository)
    ingest(repository.home)
    late = open_home(tmp_path / "late")
    folders = sorted(repository.home.journal.iterdir())
    step = abs(order)
    for start in range(step):
        for folder in folders[:: order // step][start::step]:
            shutil.copytree(folder, late.journal / folder.name)
            ingest(late)
    assert everything(late) == everything(repository.home)


def test_a_finding_is_new_then_open_then_fixed_then_reopened(repository):
    seen = []
    for findings in ([found("a.py")], [found("a.py", line=9)], [], [found("a.py")]):
        repository.scan({"a.py": "1"}, findings=findings)
        seen.append(repository.states("state, line, nights"))
    assert seen == [[("new", 3, 1)], [("open", 9, 2)], [("fixed", 9, 2)], [("reopened", 3, 3)]]


def test_findings_of_files_that_were_not_scanned_or_failed_stay_as_they_were(repository):
    repository.scan({"a.py": "1", "b.py": "1", "c.py": "1"}, findings=[found("a.py"), found("b.py"), found("c.py")])
    repository.scan({"b.py": "failed", "c.py": "2"}, findings=[])
    assert repository.states() == [("a.py", "B602", "open"), ("b.py", "B602", "open"), ("c.py", "B602", "fixed")]


def test_what_a_tool_found_is_not_fixed_by_a_scan_in_which_it_did_not_look(repository):
    both = [found("a.py"), found("a.py", "F401", tool="ruff"), found("a.py", "R1", tool="review")]
    repository.scan({"a.py": "1"}, findings=both, tools=["bandit", "ruff", "review"])
    broken = [{"path": "a.py", "tool": "ruff", "reason": "crashed on it"}]
    repository.scan({"a.py": "2"}, findings=[], unparsed=broken)
    assert repository.states() == [("a.py", "B602", "fixed"), ("a.py", "F401", "open"), ("a.py", "R1", "open")]


def named(*lines, rule="bug", text="return run(text)"):
    """What a model names at these lines of a.py."""
    return [found("a.py", rule, tool="review", line=line, text=text, number=at) for at, line in enumerate(lines, 1)]


def reviewed(repository, text, *findings, **more):
    marks = {"a.py": line_marks(text)}
    repository.scan({"a.py": text}, findings=findings, tools=["review"], **({"marks": marks} | more))
    return repository.states("state, line, end_line, nights")


def test_what_a_model_named_is_open_until_the_line_that_it_quoted_is_gone(repository):
    quote = "def go(text):\n    return run(text)\n"
    assert reviewed(repository, f"\n{quote}", *named(3)) == [("new", 3, 3, 1)]
    assert reviewed(repository, f"# above\n\n\n{quote}") == [("open", 5, 5, 1)]
    assert reviewed(repository, f"\tdef go(text):\n\t\treturn run(text)\n{quote}") == [("open", 4, 4, 1)]
    assert reviewed(repository, quote, *named(2)) == [("open", 2, 2, 2)]
    assert reviewed(repository, quote.replace("text", "words")) == [("fixed", 2, 2, 2)]
    assert reviewed(repository, quote) == [("fixed", 2, 2, 2)]
    assert reviewed(repository, quote, *named(2)) == [("reopened", 2, 2, 3)]


def test_of_equal_lines_as_many_findings_stay_as_there_are_and_none_of_them_twice(repository):
    line = "return run(text)\n"
    reviewed(repository, line * 2, *named(1, 2))
    assert reviewed(repository, line) == [("fixed", 2, 2, 1), ("open", 1, 1, 1)]
    other = {**named(2)[0], "fingerprint": "in a function with another name"}
    assert reviewed(repository, f"def go():\n{line}", other) == [("fixed", 2, 2, 1), ("open", 2, 2, 2)]


def test_a_quote_of_several_lines_or_of_a_cut_one_is_known_again(repository):
    several, long = "def go(text):\n  return run(text)", "x = 1; " * 1000
    quotes = [{**named(1, text=several)[0], "end_line": 2}, *named(3, rule="design", text=long[:2000])]
    reviewed(repository, f"{several}\n{long}\n", *quotes)
    assert reviewed(repository, f"# above\n{several}\n{long}\n") == [("open", 2, 3, 1), ("open", 4, 4, 1)]
    assert {state for state, *_ in reviewed(repository, "def go(text):\n\n  return run(text)\n")} == {"fixed"}


@pytest.mark.parametrize("marks", [{}, {"a.py": 7}, "odd", {"a.py": ""}, None])
def test_of_a_journal_without_marks_what_is_not_named_again_is_fixed(repository, marks):
    reviewed(repository, "return run(text)\n", *named(1))
    assert reviewed(repository, "return run(text)\n", marks=marks) == [("fixed", 1, 1, 1)]


def test_a_deleted_file_fixes_its_findings_and_an_excluded_one_hides_them(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py")])
    repository.scan({"b.py": "excluded"}, deleted=["a.py"])
    columns = "path, state, suppressed_by, reason"
    assert repository.states(columns) == [
        ("a.py", "fixed", None, None),
        ("b.py", "suppressed", "exclusion", "excluded: by the pipeline"),
    ]
    repository.scan({"b.py": "2"}, findings=[found("b.py")])
    assert repository.states()[1] == ("b.py", "B602", "open")


def test_findings_go_with_a_renamed_file_whether_or_not_it_was_scanned_again(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py", symbol="")])
    repository.scan({"c.py": "1"}, findings=[found("c.py")], renamed={"a.py": "c.py", "b.py": "d.py"})
    assert repository.states() == [("c.py", "B602", "open"), ("d.py", "B602", "open")]


def test_a_rename_that_git_did_not_see_and_a_function_that_moved_are_no_news(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py", symbol=""), found("b.py", symbol="sell")])
    repository.scan({"c.py": "1"}, findings=[found("c.py", symbol="")])
    repository.scan({"d.py": "1", "b.py": "2"}, findings=[found("d.py", symbol="sell")], same_night=True)
    repository.scan({}, deleted=["a.py"], same_night=True)
    assert repository.states() == [("c.py", "B602", "open"), ("d.py", "B602", "open")]


def test_a_finding_whose_function_was_renamed_is_the_same_and_keeps_its_former_fingerprint(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py", symbol="buy")])
    repository.scan({"a.py": "2"}, findings=[found("a.py", symbol="purchase")])
    assert repository.states("state, fingerprint, len(known_as)") == [("open", "bandit B602 purchase call(x) 1", 2)]


def test_a_copy_of_a_finding_is_new_in_the_same_file_and_in_another(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")])
    copies = [found("a.py"), found("a.py", number=2), found("b.py")]
    repository.scan({"a.py": "2", "b.py": "1"}, findings=copies)
    assert repository.states("path, state") == [("a.py", "new"), ("a.py", "open"), ("b.py", "new")]


def test_a_file_renamed_over_another_leaves_only_its_own_findings(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py")])
    repository.scan({"b.py": "1"}, findings=[found("b.py")], renamed={"a.py": "b.py"})
    assert repository.states() == [("b.py", "B602", "fixed"), ("b.py", "B602", "open")]


def test_a_clock_that_went_back_changes_neither_the_order_of_scans_nor_what_is_known(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")])
    (file,) = repository.home.journal.glob("*/*.jsonl")
    file.write_text(file.read_text().replace('"ts":"20', '"ts":"21'))
    repository.scan({"a.py": "2"}, findings=[])
    assert repository.states("state, fixed_at >= first_seen") == [("fixed", True)]
    assert known_files(repository.home, PIPELINE, REPO)["a.py"].blob == "blob of 2"


def test_scans_without_a_number_follow_one_another_in_time(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")], night=None)
    repository.scan({"a.py": "2"}, findings=[], night=None)
    assert repository.states() == [("a.py", "B602", "fixed")]


def test_findings_without_a_fingerprint_are_followed_too(repository):
    bare = [{**found("a.py", line=line), "fingerprint": None} for line in (3, 9)]
    repository.scan({"a.py": "1"}, findings=bare)
    repository.scan({"a.py": "2"}, findings=bare[:1])
    assert repository.states("state") == [("fixed",), ("open",)]


def test_lines_of_a_scan_that_are_not_what_they_should_be_are_left_out_or_taken_as_far_as_they_go(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")])
    with JournalWriter(repository.home, root_run="bad", run="bad") as journal:
        journal.append("scanned", path="mark", pipeline=3, repo=REPO, files=[])
        journal.append("scanned", path="mark", pipeline=PIPELINE, repo=REPO, night=2**63 - 1, files=[])
        journal.append("scanned", path="mark", pipeline=PIPELINE, repo=REPO, night=2, files=[{"blob": "b"}])
        journal.append("feedback", finding=["x"], repo=REPO, verdict="accepted")
        odd = {"path": "a.py", "blob": ["b"], "status": {"x": 1}, "reason": "\x1b[31m\ud800"}
        journal.append("scanned", path=7, pipeline=PIPELINE, repo=REPO, night="two", files=[odd], deleted=[None, 5])
    report = ingest(repository.home)
    assert report.skipped == 3
    assert next_night(repository.home, PIPELINE, REPO) == 2
    assert repository.states() == [("a.py", "B602", "new")]


def test_tables_of_an_older_program_are_filled_anew_with_what_it_passed_over(repository):
    repository.scan({"a.py": "1"}, findings=[found("a.py")])
    (file,) = repository.home.journal.glob("*/*.jsonl")
    with duckdb.connect(repository.home.outcomes_db) as old:
        old.execute("CREATE TABLE _migrations (name VARCHAR, applied_at TIMESTAMP)")
        for migration in migrations.MIGRATIONS[:2]:
            migration(old)
            old.execute("INSERT INTO _migrations VALUES (?, NULL)", [migration.__name__])
        place = file.relative_to(repository.home.journal).as_posix()
        old.execute("INSERT INTO _files VALUES (?, ?)", [place, file.stat().st_size])
    assert not ingest(repository.home).rebuilt
    assert repository.states() == [("a.py", "B602", "new")]


def test_odd_text_in_findings_and_paths_does_not_stop_the_scans_that_follow(repository):
    odd = "a\x00\ud800\u202e\x1b[31m|::..\n'\".py"
    strange = {**found(odd), "message": "\x00" * 100_000, "line": "three", "severity": ["high"], "fix": "\x00"}
    repository.scan({odd: "1"}, findings=[strange, {"path": odd}, {"rule": "R"}], unparsed=["x", {"path": odd}])
    repository.scan({"b.py": "1"}, findings=[found("b.py")])
    ((path, mark, state),) = query_all(repository, "path, fingerprint, state", "rule = 'B602' AND path <> 'b.py'")
    assert (path, mark[:6], state) == (odd.replace("\ud800", "?"), "bandit", "open")


def query_all(repository, columns, where):
    ingest(repository.home)
    return query(repository.home, f"SELECT {columns} FROM finding_states WHERE {where}").rows  # noqa: S608  the test's


def test_a_journal_without_scans_is_read_as_before(home):
    with JournalWriter(home, root_run="old", run="old") as journal:
        journal.append(
            "findings", path="analyze", findings=[{"tool": "ruff", "rule": "E1", "path": "a.py"}], unparsed=[]
        )
    assert ingest(home).skipped == 0
    assert query(home, "FROM finding_states").rows == ()
    assert query(home, "FROM scans").rows == ()


def test_a_night_has_its_numbers(repository):
    repository.scan({"a.py": "1", "b.py": "1"}, findings=[found("a.py"), found("b.py", severity="low")])
    repository.scan({"a.py": "2", "c.py": "failed"}, findings=[found("a.py", "B1")], deleted=["b.py"])
    ingest(repository.home)
    sql = 'SELECT night, scanned, failed, deleted, findings, "new", fixed, high, low, "commit", calls FROM scans'
    assert sorted(query(repository.home, sql).rows) == [
        ("1", 2, 0, 0, 2, 2, 0, 1, 1, "c1", 0),
        ("2", 1, 1, 1, 1, 1, 2, 1, 0, "c2", 0),
    ]
