"""Which files there are, as git's objects say, and those of one batch."""

import subprocess

import pytest

from elexirion_dagster.codebase.fetching import fetch
from elexirion_dagster.codebase.history import changed_since, head, renames
from elexirion_dagster.codebase.selection import ABSENT, Batch, Selection, discover, take
from elexirion_dagster.errors import ElexirionError, InputError


class Code:
    def __init__(self, folder):
        self.root = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words):
        command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, **files):
        for name, text in files.items():
            self.put(f"{name}.py", text)

    def put(self, path, text):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-qm", "some")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def code(tmp_path):
    return Code(tmp_path / "code")


def listed(found):
    return {file["path"]: file["blob"] for file in found.files}, {one["path"]: one["reason"] for one in found.skipped}


def test_a_commit_has_the_same_files_and_blobs_as_its_working_tree(code):
    code.put("src/a.py", "1\n")
    code.put("with space\nand line.py", "2\n")
    code.put("ünï|::,...py", "3\n")
    code.put("dos.txt", "a\r\nb\r\n")
    code.put("run", "#!/usr/bin/env python3\n")
    code.put("large.py", "#" * 3000)
    (code.root / "link.py").symlink_to("src/a.py")
    commit = code.commit()
    selection = Selection(max_file_kb=2)
    assert listed(discover(code.root, selection, commit)) == listed(discover(code.root, selection, None))
    python = Selection(languages=("python",))
    assert listed(discover(code.root, python, commit))[0].keys() == {
        *("src/a.py", "with space\nand line.py", "ünï|::,...py", "run", "large.py")
    }


def test_what_git_attributes_call_generated_or_vendored_is_left_out_with_the_word(code):
    code.put(
        ".gitattributes", "gen_*.py linguist-generated\nlib/** linguist-vendored=true\nlib/ours.py -linguist-vendored\n"
    )
    for path in ("gen_a.py", "lib/theirs.py", "lib/ours.py"):
        code.put(path, "1\n")
    commit = code.commit()
    for at in (commit, None):
        files, skipped = listed(discover(code.root, Selection(), at))
        assert files.keys() == {".gitattributes", "lib/ours.py"}
        assert skipped == {"gen_a.py": "generated", "lib/theirs.py": "vendored"}


def test_a_batch_of_a_commit_has_the_bytes_that_git_keeps_and_runs_no_filter(code, tmp_path):
    code.put(".gitattributes", "*.py filter=evil eol=crlf text\n")
    code.put("a.py", "one\ntwo\n")
    code.put("picture", b"\x89PNG\0\0")
    code.git("config", "filter.evil.smudge", f"touch {tmp_path / 'ran'}")
    code.git("config", "core.fsmonitor", f"touch {tmp_path / 'ran'}")
    commit = code.commit()
    (tmp_path / "ran").unlink(missing_ok=True)
    taken = take(code.root, Selection(), Batch(commit=commit, files=("a.py", "picture", "gone.py")), tmp_path / "work")
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "work" / "repository" / "a.py").read_bytes() == b"one\ntwo\n"
    assert listed(taken) == (
        {"a.py": code.git("rev-parse", f"{commit}:a.py")},
        {"gone.py": ABSENT, "picture": "binary"},
    )


def test_a_batch_of_the_working_tree_has_what_lies_there(code, tmp_path):
    code.write(a="1\n", b="2\n")
    code.commit()
    (code.root / "b.py").unlink()
    files, skipped = listed(take(code.root, Selection(), Batch(files=("a.py", "b.py")), tmp_path))
    assert (files.keys(), skipped) == ({"a.py"}, {"b.py": ABSENT})


def test_submodules_are_named_not_entered(code, tmp_path):
    inner = Code(tmp_path / "inner")
    inner.write(x="1\n")
    inner.commit()
    code.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.root), "sub")
    commit = code.commit()
    files, skipped = listed(discover(code.root, Selection(), commit))
    assert (files.keys(), skipped) == ({".gitmodules"}, {"sub": "git submodule"})


def test_the_head_of_a_branch_is_found_whatever_is_checked_out(code):
    code.write(a="1\n")
    first = code.commit()
    code.git("checkout", "-qb", "other")
    code.write(a="2\n")
    second = code.commit()
    assert head(code.root, "main") == (first, "main")
    assert head(code.root, None) == (second, "other")
    code.git("checkout", "-q", "--detach")
    assert head(code.root, None) == (second, None)


@pytest.mark.parametrize("branch", ["gone", "--upload-pack=x", "a..b", "x\ny"])
def test_a_branch_that_is_not_there_is_refused_and_others_are_named(code, branch):
    code.write(a="1\n")
    code.commit()
    with pytest.raises(InputError, match="has no branch") as refused:
        head(code.root, branch)
    assert "main" in refused.value.mend


def test_a_repository_without_a_commit_has_no_head(code):
    with pytest.raises(InputError, match="no commit yet"):
        head(code.root, None)


def test_a_commit_that_is_not_there_any_more_is_a_clear_word(code, tmp_path):
    code.write(a="1\n")
    code.commit()
    with pytest.raises(InputError, match="does not have 111111111111"):
        take(code.root, Selection(), Batch(commit="1" * 40, files=("a.py",)), tmp_path)
    assert renames(code.root, "1" * 40, "HEAD") is None


def test_renames_are_seen_through_edits(code):
    code.write(a="".join(f"line {number}\n" for number in range(30)), b="else\n")
    old = code.commit()
    code.git("mv", "a.py", "moved and|odd.py")
    code.put("moved and|odd.py", (code.root / "moved and|odd.py").read_text() + "more\n")
    assert renames(code.root, old, code.commit()) == {"a.py": "moved and|odd.py"}


def test_what_changed_since_a_revision_is_listed_from_where_the_two_parted(code):
    code.write(a="1\n", b="1\n")
    base = code.commit()
    code.git("checkout", "-qb", "mine")
    code.write(a="2\n")
    code.commit()
    code.git("checkout", "-q", "main")
    code.write(b="2\n")
    code.commit()
    code.git("checkout", "-q", "mine")
    assert changed_since(code.root, "main...") == (base, ["a.py"])
    assert changed_since(code.root, "main…") == (base, ["a.py"])
    assert changed_since(code.root, "main")[1] == ["a.py", "b.py"]


@pytest.mark.parametrize("ref", ["nowhere", "nowhere...", "--output=x", "a..b", ""])
def test_what_is_no_revision_is_refused(code, ref):
    code.write(a="1\n")
    code.commit()
    with pytest.raises(InputError, match="revision"):
        changed_since(code.root, ref)


def test_a_folder_of_a_repository_has_only_its_own_files(code, tmp_path):
    code.put("a.py", "1\n")
    code.put("sub/b.py", "2\n")
    commit = code.commit()
    inside = code.root / "sub"
    assert listed(discover(inside, Selection(), commit)) == listed(discover(inside, Selection(), None))
    taken = take(inside, Selection(), Batch(commit=commit, files=("b.py",)), tmp_path / "work")
    assert (tmp_path / "work" / "repository" / "b.py").read_text() == "2\n"
    assert listed(taken)[0].keys() == {"b.py"}


def test_fetching_runs_no_hook_and_tells_no_password(code, tmp_path):
    code.write(a="1\n")
    code.commit()
    code.git("clone", "-q", str(code.root), str(tmp_path / "clone"))
    hook = tmp_path / "clone" / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o755)
    code.write(a="2\n")
    new = code.commit()
    fetch(tmp_path / "clone", None)
    assert head(tmp_path / "clone", None, fetched=True) == (new, "main")
    assert not (tmp_path / "ran").exists()
    code.git("remote", "add", "origin", "https://user:secret-word@127.0.0.1:9/none.git")
    with pytest.raises(ElexirionError, match="git fetch of main") as failed:
        fetch(code.root, None)
    assert "secret-word" not in str(failed.value)
