import os
import shutil
import subprocess

import pytest

from elexirion_dagster.codebase.worktree import head_of, new_commit, open_worktree, remove_worktree, unsaved_commit
from elexirion_dagster.errors import InputError

WHO = ["-c", "user.name=T", "-c", "user.email=t@example.org"]


def git(folder, *args):
    return subprocess.run(["git", *WHO, *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "work"
    made.mkdir()
    return made


def opened(repository, folder):
    commit = head_of(repository)
    open_worktree(repository, folder, commit)
    return commit


def test_a_worktree_holds_the_commit_and_the_users_tree_stays_as_it_is(git_repository, folder):
    before = git(git_repository, "status", "--porcelain")
    commit = opened(git_repository, folder)
    assert (folder / "src" / "clean.py").is_file()
    assert not (folder / "untracked.py").exists()
    assert git(folder, "rev-parse", "HEAD") == commit
    assert git(folder, "status", "--porcelain") == ""
    (folder / "src" / "clean.py").write_text("changed")
    assert git(git_repository, "status", "--porcelain") == before


def test_opening_again_finds_the_work(git_repository, folder):
    commit = opened(git_repository, folder)
    (folder / "note").write_text("work")
    open_worktree(git_repository, folder, commit)
    assert (folder / "note").read_text() == "work"


def test_one_that_was_half_made_is_made_anew(git_repository, folder):
    reason = ("--lock", "--reason", "elexirion: being made")
    words = ("worktree", "add", "-q", "--detach", "--no-checkout", *reason, str(folder))
    git(git_repository, *words)
    opened(git_repository, folder)
    assert (folder / "src" / "clean.py").is_file()
    assert "locked" not in git(git_repository, "worktree", "list", "--porcelain")


def test_work_is_never_made_anew_whatever_became_of_its_git_file_or_lock(git_repository, folder):
    commit = opened(git_repository, folder)
    (folder / "note").write_text("work")
    (folder / ".git").unlink()
    git(git_repository, "worktree", "lock", str(folder))
    open_worktree(git_repository, folder, commit)
    assert (folder / "note").read_text() == "work"


def test_one_that_somebody_locked_counts_as_worth_keeping(git_repository, folder):
    commit = opened(git_repository, folder)
    git(git_repository, "branch", "saved")
    assert (new_commit(git_repository, folder, commit), unsaved_commit(git_repository, folder)) == (None, None)
    git(git_repository, "worktree", "lock", "--reason", "mine", str(folder))
    assert (new_commit(git_repository, folder, commit), unsaved_commit(git_repository, folder)) == (commit, commit)


def test_removing_leaves_nothing_behind_in_the_repository(git_repository, folder):
    opened(git_repository, folder)
    (folder / ".git").unlink()  # whatever a program did to it
    remove_worktree(git_repository, folder)
    assert not folder.exists()
    assert git(git_repository, "worktree", "list").count("\n") == 0
    assert not (git_repository / ".git" / "worktrees").exists()


def test_commits_in_it_are_seen_whatever_its_git_file_says(git_repository, folder):
    commit = opened(git_repository, folder)
    assert new_commit(git_repository, folder, commit) is None
    assert unsaved_commit(git_repository, folder) is None
    (folder / "new").write_text("x")
    git(folder, "add", "new")
    git(folder, "commit", "-qm", "second")
    made = git(folder, "rev-parse", "HEAD")
    (folder / ".git").write_text("gitdir: /nowhere\n")
    assert new_commit(git_repository, folder, commit) == made
    assert unsaved_commit(git_repository, folder) == made
    git(git_repository, "branch", "saved", made)
    assert new_commit(git_repository, folder, commit) == made
    assert unsaved_commit(git_repository, folder) is None


def test_nothing_of_a_hostile_repository_is_run(git_repository, folder, tmp_path):
    mark = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $0 >> {mark}\ncat\n")
    script.chmod(0o755)
    (git_repository / ".gitattributes").write_text("* filter=evil\n*.py filter=a=b\n")
    git(git_repository, "add", ".gitattributes")
    git(git_repository, "commit", "-qm", "attributes")
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-commit"):
        shutil.copy(script, git_repository / ".git" / "hooks" / hook)
    for name in ("filter.evil", "filter.a=b"):
        for key in ("smudge", "clean", "process"):
            git(git_repository, "config", f"{name}.{key}", str(script))
        git(git_repository, "config", f"{name}.required", "true")
    included = tmp_path / "included"
    included.write_text(f'[filter "evil"]\n\tsmudge = {script}\n[core]\n\tfsmonitor = {script}\n')
    git(git_repository, "config", "includeIf.gitdir:**/worktrees/**.path", str(included))
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "diff.external"):
        git(git_repository, "config", key, str(script))
    mark.unlink(missing_ok=True)
    commit = opened(git_repository, folder)
    new_commit(git_repository, folder, commit)
    assert (folder / "src" / "clean.py").is_file()
    remove_worktree(git_repository, folder)
    assert not mark.exists(), mark.read_text()


@pytest.mark.parametrize("name", ["a\nb", "spa ce", "-x", "é"])
def test_a_place_of_any_name_will_do(git_repository, tmp_path, name):
    repository = git_repository.rename(tmp_path / name)
    folder = tmp_path / f"work {name}"
    folder.mkdir()
    opened(repository, folder)
    assert (folder / "broken.py").is_file()
    remove_worktree(repository, folder)
    assert not (repository / ".git" / "worktrees").exists()


def test_a_linked_worktree_is_a_repository_too(git_repository, folder, tmp_path):
    git(git_repository, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    opened(tmp_path / "linked", folder)
    assert (folder / "broken.py").is_file()


def test_a_git_file_that_leads_to_somebody_elses_repository_is_refused(git_repository, tmp_path):
    bait = tmp_path / "bait"
    bait.mkdir()
    for text in (f"gitdir: {git_repository}/.git\n", f"gitdir: {bait}/own\n"):
        (bait / ".git").write_text(text)
        shutil.rmtree(bait / "own", ignore_errors=True)
        (bait / "own").mkdir()
        for name, content in (
            ("HEAD", "ref: refs/heads/main\n"),
            ("commondir", f"{git_repository}/.git\n"),
            ("gitdir", f"{bait}/.git\n"),
        ):
            (bait / "own" / name).write_text(content)
        with pytest.raises(InputError, match="lies outside"):
            head_of(bait)


@pytest.mark.parametrize("kind", ["empty", "file", "missing", "no commit", "bare", "inside"])
def test_what_no_worktree_can_be_made_of_is_refused_with_a_mend(git_repository, tmp_path, kind):
    place = tmp_path / kind
    match kind:
        case "empty":
            place.mkdir()
        case "file":
            place.write_text("")
        case "no commit":
            place.mkdir()
            git(place, "init", "-q")
        case "bare":
            git(tmp_path, "clone", "-q", "--bare", str(git_repository), str(place))
        case "inside":
            place = git_repository / "src"
    with pytest.raises(InputError) as caught:
        head_of(place)
    assert caught.value.mend


def test_without_git_the_error_says_so(git_repository, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(InputError, match="git, which is not installed"):
        head_of(git_repository)


def test_a_folder_with_work_that_git_does_not_know_is_left_alone(git_repository, folder):
    (folder / "work").write_text("x")
    with pytest.raises(InputError, match="holds work"):
        opened(git_repository, folder)
    assert os.listdir(folder) == ["work"]  # noqa: PTH208 - a list of names
