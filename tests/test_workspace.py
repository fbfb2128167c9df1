import os
import subprocess

import pytest

from elexirion_dagster.errors import ElexirionError, PolicyError
from elexirion_dagster.operations.instance import prune
from elexirion_dagster.settings import Settings

HEAD = (
    'inputs: {repo: {type: path}, other: {type: string, default: x}}\nworkspace: {worktree_of: "{{ inputs.repo }}"}\n'
)
WRITE = HEAD + "steps:\n  - {name: w, type: files, write: {path: note.txt, text: work}}\n"
COMMIT = (
    WRITE
    + """\
  - {name: a, type: command, run: [git, add, note.txt]}
  - {name: c, type: command, run: [git, -c, user.name=T, -c, user.email=t@example.org, commit, -qm, second]}
"""
)
FAIL = WRITE + "  - {name: f, type: command, run: ['false']}\n"


def folder_of(rehearsed):
    return rehearsed.home.workspace(rehearsed.run.info.root_run)


def worktrees(repository):
    done = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines()) - 1


def aged(path):
    for each in [path, *path.rglob("*")]:
        os.utime(each, (0, 0), follow_symlinks=False)


def test_the_run_works_in_a_worktree_that_is_gone_when_it_is_done(start, git_repository):
    text = (
        WRITE
        + "  - {name: l, type: files, list: {git: tracked}}\noutputs: {files: '{{ steps.l.data.files | length }}'}\n"
    )
    rehearsed = start(text, repo=str(git_repository))
    results = rehearsed.all()
    assert results["w"].status == "succeeded"
    assert [file["path"] for file in results["l"].data["files"]] == ["broken.py", "src/clean.py", "src/shell.py"]
    assert (folder_of(rehearsed) / "note.txt").read_text() == "work"
    rehearsed.run.outputs(results)
    rehearsed.run.close()
    assert not folder_of(rehearsed).exists()
    assert worktrees(git_repository) == 0
    assert not (git_repository / "note.txt").exists()
    assert rehearsed.run.kept is None


def test_commits_keep_it(start, git_repository):
    rehearsed = start(COMMIT, repo=str(git_repository))
    assert rehearsed.all()["c"].status == "succeeded"
    rehearsed.run.close()
    assert (folder_of(rehearsed) / "note.txt").is_file()
    assert str(folder_of(rehearsed)) in rehearsed.run.kept
    assert "it holds commits" in rehearsed.lines("workspace")[0]["kept"]


def test_a_run_that_failed_keeps_it_and_a_recovery_finds_the_work(start, git_repository):
    failed = start(FAIL, repo=str(git_repository))
    assert failed.all()["f"].status == "failed"
    failed.run.close()
    assert "recovery" in failed.run.kept
    commit = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(commit, cwd=git_repository, check=True)  # the repository goes on; the root run stays at its commit
    again = start(FAIL.replace("'false'", "'true'"), root=failed.run.info.root_run, repo=str(git_repository))
    results = again.all()
    assert results["w"].status == "succeeded"
    assert (folder_of(again) / "note.txt").read_text() == "work"
    again.run.close()
    assert again.run.kept is None
    assert worktrees(git_repository) == 0


def test_a_run_whose_outputs_were_not_reached_keeps_it(start, git_repository):
    rehearsed = start(WRITE + "outputs: {x: '{{ steps.w.data }}'}\n", repo=str(git_repository))
    rehearsed.all()
    rehearsed.run.close()
    assert folder_of(rehearsed).exists()


def test_another_run_at_work_in_it_keeps_it(start, git_repository):
    first = start(WRITE, repo=str(git_repository))
    first.all()
    second = start(WRITE, root=first.run.info.root_run, repo=str(git_repository))
    first.run.close()
    assert (folder_of(first) / "note.txt").is_file()
    second.all()
    second.run.close()
    assert not folder_of(first).exists()


def test_a_place_that_is_no_path_input_is_refused(start, git_repository, tmp_path):
    text = WRITE.replace("inputs.repo }}", "inputs.repo }}/../repository2")
    (tmp_path / "repository2").mkdir()
    with pytest.raises(PolicyError) as caught:
        start(text, repo=str(git_repository))
    assert caught.value.cause == "tool_denied"


@pytest.mark.parametrize("kind", ["folder", "missing"])
def test_a_place_that_is_no_repository_is_refused(start, tmp_path, kind):
    place = tmp_path / kind
    if kind == "folder":
        place.mkdir()
    with pytest.raises(ElexirionError) as caught:
        start(WRITE, repo=str(place))
    assert (caught.value.cause, bool(caught.value.mend)) == ("bad_input", True)


def test_prune_takes_a_worktree_out_of_its_repository(start, git_repository, home_path):
    rehearsed = start(FAIL, repo=str(git_repository))
    rehearsed.all()
    rehearsed.run.close()
    aged(folder_of(rehearsed))
    assert prune(Settings(home=home_path), 1).workspaces == 1
    assert worktrees(git_repository) == 0
    assert not folder_of(rehearsed).exists()


def test_prune_goes_on_where_the_repository_is_gone(start, git_repository, home_path, tmp_path):
    rehearsed = start(COMMIT, repo=str(git_repository))
    rehearsed.all()
    rehearsed.run.close()
    aged(folder_of(rehearsed))
    git_repository.rename(tmp_path / "moved")
    git_repository.mkdir()
    assert prune(Settings(home=home_path), 1).workspaces == 1
    assert not folder_of(rehearsed).exists()


def test_prune_keeps_commits_that_are_on_no_branch_and_runs_under_way(start, git_repository, home_path):
    done, at_work = start(COMMIT, repo=str(git_repository)), start(WRITE, repo=str(git_repository))
    done.all()
    done.run.close()
    for rehearsed in (done, at_work):
        aged(folder_of(rehearsed))
    report = prune(Settings(home=home_path), 1)
    assert set(report.kept) == {folder_of(done), folder_of(at_work)}
    subprocess.run(["git", "branch", "saved"], cwd=folder_of(done), check=True)
    aged(folder_of(done))
    assert prune(Settings(home=home_path), 1).workspaces == 1
