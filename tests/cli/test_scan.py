"""`elexirion scan` as its users see it: the first time, the next time, in CI."""

import json
import subprocess

import pytest

from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.scan.plan import scope_digest
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scan_lock import scanning

pytestmark = pytest.mark.slow

BAD = "import subprocess\n\n\ndef go(text):\n    subprocess.call(text, shell=True)\n"


def git(folder, *words):
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def record(elexirion):
    """The JSON of a scan, and its exit code."""

    def scan(*words):
        done = elexirion("scan", *words, "--json")
        assert "Traceback" not in done.stdout + done.stderr
        return json.loads(done.stdout), done.returncode

    return scan


def test_the_second_scan_finds_nothing_due_and_shows_what_is_open(elexirion, record, git_repository):
    first, code = record(git_repository)
    assert (code, first["files_scanned"], first["findings"]["new"]) == (0, 3, 2)
    again, _ = record(git_repository)
    assert (again["run"], again["files_scanned"]) == (None, 0)
    assert again["findings"] == {"new": 0, "open": 2, "suppressed": 0, "fixed": 0}
    assert "open" in elexirion("findings").stdout
    shown = elexirion("scan", git_repository).stdout
    assert "nothing is due" in shown
    assert "B602" in shown
    (git_repository / "src" / "clean.py").write_text("def triple(number):\n    return 3 * number\n")
    third, _ = record(git_repository)
    assert (third["files_scanned"], third["findings"]["open"], third["findings"]["new"]) == (1, 2, 0)


def test_a_plan_scans_nothing(elexirion, git_repository, home_path):
    planned = json.loads(elexirion("scan", git_repository, "--plan", "--json").stdout)
    assert [one["reason"] for one in planned["due"]] == ["new", "new", "new"]
    assert planned["cost_ceiling_usd"] == 0.0
    shown = elexirion("scan", git_repository, "--plan", "--model", "fake/echo").stdout
    assert "3 of 3 files due: 3 never scanned" in shown
    assert "at most $0.50" in shown
    assert list(home_path.glob("journal/*")) == []


def test_a_plan_names_what_is_left_out_and_keeps_a_name_in_one_line(elexirion, git_repository):
    (git_repository / "two\nlines.py").write_text("x = 1\n")
    (git_repository / "long.py").write_text("x = 1\n" * 200_000)
    git(git_repository, "add", ".")
    shown = elexirion("scan", git_repository, "--plan", "--no-model").stdout
    assert "two\\nlines.py" in shown
    assert "left out: long.py (larger than 1024 kB)" in shown


def test_a_suppressed_finding_says_why_who_and_until_when(elexirion, record, git_repository):
    record(git_repository, "--no-model")
    listed = json.loads(elexirion("findings", "list", "--json").stdout)
    words = ("--reason", "a constant", "--owner", "ada", "--until", "2999-01-31")
    assert elexirion("findings", "suppress", listed[0]["fingerprint"], *words).returncode == 0
    assert "a constant (ada, until 2999-01-31)" in elexirion("findings", "list", "--state", "suppressed").stdout
    assert "why" not in elexirion("findings", "list").stdout


def test_ci_fails_on_what_a_branch_adds_and_on_nothing_that_was_there(record, git_repository):
    git(git_repository, "checkout", "-qb", "mine")
    (git_repository / "src" / "shell.py").write_text(
        "# moved down\n" + (git_repository / "src" / "shell.py").read_text()
    )
    git(git_repository, "commit", "-qam", "harmless")
    found, code = record(git_repository, "--diff", "main...", "--fail-on", "new-high", "--no-model")
    assert (code, found["files_scanned"], found["failing"]) == (0, 1, [])
    (git_repository / "src" / "more.py").write_text(BAD)
    git(git_repository, "add", "src/more.py")
    git(git_repository, "commit", "-qm", "harmful")
    found, code = record(git_repository, "--diff", "main...", "--fail-on", "new-high", "--no-model")
    assert (code, [one["path"] for one in found["failing"]]) == (3, ["src/more.py"])


def test_what_a_branch_adds_stays_new_against_its_base_until_it_is_gone(record, git_repository):
    git(git_repository, "checkout", "-qb", "mine")
    (git_repository / "src" / "more.py").write_text(BAD)
    git(git_repository, "add", "src/more.py")
    git(git_repository, "commit", "-qm", "harmful")
    gate = (git_repository, "--diff", "main...", "--fail-on", "new-high", "--no-model")
    assert [record(*gate)[1], record(*gate)[1]] == [3, 3]
    (git_repository / "src" / "clean.py").write_text("def triple(number):\n    return 3 * number\n")
    record(git_repository, "--no-model")
    found, code = record(git_repository, "--no-model")
    assert (code, found["findings"]["new"]) == (0, 0)
    found, code = record(*gate)
    assert (code, found["findings"]["new"], [one["path"] for one in found["failing"]]) == (3, 2, ["src/more.py"])
    (git_repository / "src" / "more.py").write_text("")
    assert record(*gate)[1] == 0


def test_a_bare_repository_is_scanned_at_its_head_and_that_is_told(elexirion, record, git_repository, tmp_path):
    server = tmp_path / "server.git"
    git(tmp_path, "clone", "-q", "--bare", str(git_repository), str(server))
    git(server, "remote", "remove", "origin")
    shown = elexirion("scan", server, "--no-model")
    told = f"{server} is a bare repository: it has no working tree, so the head of main ("
    assert told in shown.stderr
    assert "src/shell.py:5" in shown.stdout
    again, _ = record(server, "--no-model")
    assert (again["files_scanned"], again["findings"]["open"]) == (0, 2)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(server), str(clone))
    (clone / "src" / "more.py").write_text(BAD)
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "more")
    git(clone, "push", "-q", "origin", "main")
    found, code = record(server, "--diff", "HEAD~1", "--fail-on", "new-high", "--no-model")
    assert (code, found["files_scanned"], [one["path"] for one in found["failing"]]) == (3, 1, ["src/more.py"])
    listed = elexirion("run", "security_review", f"repo={server}", "--no-model")
    assert listed.returncode == 1
    assert "is a bare git repository, which has no working tree" in listed.stderr + listed.stdout


def test_a_branch_without_a_change_scans_nothing(record, git_repository):
    found, code = record(git_repository, "--diff", "HEAD", "--fail-on", "new-info", "--no-model")
    assert (code, found["files_scanned"], found["failing"]) == (0, 0, [])


def test_a_bar_on_what_is_open_fails_while_it_is_there(record, git_repository):
    assert record(git_repository, "--fail-on", "high")[1] == 3
    assert record(git_repository, "--fail-on", "high")[1] == 3
    assert record(git_repository, "--fail-on", "critical")[1] == 0


def test_a_scan_beside_another_is_refused_with_its_name(elexirion, git_repository, home_path):
    scope = scope_digest("nightly_scan", repository(git_repository).identity)
    with scanning(open_home(home_path), scope, run="the-other", alone=True, wait_s=0):
        done = elexirion("scan", git_repository)
    assert done.returncode == 2
    assert "run the-other" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--diff", "nowhere..."], "no revision 'nowhere'"),
        (["--diff", "--output=x"], "is no revision"),
        (["--fail-on", "awful"], "new-high"),
    ],
)
def test_a_wrong_word_is_told(elexirion, git_repository, words, expected):
    done = elexirion("scan", git_repository, *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_diff_needs_git(elexirion, tmp_path):
    assert "is no git repository" in elexirion("scan", tmp_path, "--diff", "main").stderr


def test_hostile_names_are_scanned_and_recognised(record, git_repository):
    for name in ("a b.py", "n\nl.py", "x|y::z,[...].py", "日本.py", "--plan.py"):
        (git_repository / name).write_text("import os\n")
    git(git_repository, "add", "-A")
    assert record(git_repository)[0]["files_scanned"] == 9
    assert record(git_repository)[0]["files_scanned"] == 0
