import subprocess

import pytest

DIFF = """
inputs: {repo: {type: path}, since: {type: string, default: HEAD}}
steps:
  - {name: l, type: files, list: {root: "{{ inputs.repo }}", git: %s}}
  - name: d
    type: files
    diff: {root: "{{ inputs.repo }}", of: %s, since: "{{ inputs.since }}"%s}
"""
ALL = '"{{ steps.l.data.files }}"'


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_only_what_changed_is_told_with_its_hunks(one, git_repository):
    (git_repository / "src" / "clean.py").write_text("def double(number):\n    return number + number\n")
    result = one(DIFF % ("tracked", ALL, ""), repo=str(git_repository))
    (diff,) = result.data["diffs"]
    assert (diff["path"], diff["added"], diff["removed"], diff["cut"]) == ("src/clean.py", 1, 1, False)
    assert diff["diff"].startswith("@@ ")
    assert "\n-    return 2 * number\n+    return number + number\n" in diff["diff"]
    assert diff["before"] == git(git_repository, "rev-parse", "HEAD:src/clean.py")


def test_a_record_that_knows_its_blob_of_before_is_compared_with_that(one, git_repository):
    seen = git(git_repository, "rev-parse", "HEAD:src/shell.py")
    text = f'[{{root: "{{{{ inputs.repo }}}}", path: src/clean.py, blob: x, before: {seen}}}]'
    (diff,) = one(DIFF % ("tracked", text, ""), repo=str(git_repository)).data["diffs"]
    assert "-    subprocess.call(text, shell=True)" in diff["diff"]


def test_new_files_and_blobs_that_git_lost_have_no_diff(one, git_repository):
    text = f'[{{root: "{{{{ inputs.repo }}}}", path: src/clean.py, blob: x, before: {"7" * 40}}}]'
    assert one(DIFF % ("tracked", text, ""), repo=str(git_repository)).data == {"diffs": []}
    assert one(DIFF % ("changed", ALL, ""), repo=str(git_repository)).data == {"diffs": []}


def test_nothing_is_written_into_the_repository_and_nothing_it_configures_runs(one, git_repository, tmp_path):
    ran = tmp_path / "ran"
    for name in ("diff.evil.command", "diff.evil.textconv", "filter.evil.clean", "core.fsmonitor"):
        git(git_repository, "config", name, f"touch {ran}")
    (git_repository / ".gitattributes").write_text("* diff=evil filter=evil\n")
    (git_repository / "src" / "clean.py").write_text("pass\n")
    before = sorted(git_repository.glob(".git/objects/**/*"))
    (diff,) = one(DIFF % ("tracked", ALL, ""), repo=str(git_repository)).data["diffs"]
    assert "+pass" in diff["diff"]
    assert sorted(git_repository.glob(".git/objects/**/*")) == before
    assert not ran.exists()


def test_a_long_diff_is_cut_at_a_line_and_secrets_are_taken_out(start, git_repository):
    secret = "AKIA" + "ABCDEFGH12345678"
    (git_repository / "src" / "clean.py").write_text(f"key = '{secret}'\n" + "pass\n" * 1000)
    rehearsed = start(DIFF % ("tracked", ALL, ", max_kb: 1"), repo=str(git_repository))
    (diff,) = rehearsed.all()["d"].data["diffs"]
    assert (diff["cut"], diff["added"], diff["diff"].endswith("+pass\n")) == (True, 1001, True)
    assert len(diff["diff"]) <= 1024
    assert secret not in str(rehearsed.lines())


@pytest.mark.parametrize(
    ("of", "since", "cause"),
    [
        (ALL, "nowhere", "bad_input"),
        (ALL, "--output=x", "bad_input"),
        ("[src/clean.py]", "HEAD", "bad_input"),
        ("[{root: /etc, path: passwd, blob: x}]", "HEAD", "tool_denied"),
        ('[{root: "{{ inputs.repo }}", path: ../../x, blob: x, before: HERE}]', "HEAD", "tool_denied"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_cause(one, git_repository, of, since, cause):
    of = of.replace("HERE", git(git_repository, "rev-parse", "HEAD:src/clean.py"))
    result = one(DIFF % ("tracked", of, ""), repo=str(git_repository), since=since)
    assert (result.status, result.error.cause) == ("failed", cause)


def test_a_folder_without_git_is_refused(one, tmp_path):
    (tmp_path / "tree").mkdir()
    result = one(DIFF % ("tracked", "[]", ""), repo=str(tmp_path / "tree"))
    assert "is no git repository" in result.error.message
