import hashlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from elexirion_dagster.codebase.files import FileList, list_files
from elexirion_dagster.errors import Cancelled, InputError

IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *args], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def repository(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def paths(listed: FileList) -> list[str]:
    return [file["path"] for file in listed.files]


def reasons(listed: FileList) -> dict[str, str]:
    return {file["path"]: file["reason"] for file in listed.skipped}


def test_a_record_carries_the_hash_that_git_gives_the_working_tree(tmp_path: Path):
    root = repository(tmp_path, a="x = 1\n", b="y = 1\n")
    (root / "b.py").write_text("y = 2  # changed, not staged\n")

    listed = list_files(root)

    assert listed.source == "git"
    assert listed.note is None
    assert listed.files == [
        {
            "root": str(root),
            "path": name,
            "blob": git(root, "hash-object", name).strip(),
            "size": size,
            "language": "python",
        }
        for name, size in (("a.py", 6), ("b.py", 29))
    ]


def test_only_tracked_files_are_listed_and_only_below_the_root(tmp_path: Path):
    repository(tmp_path, a="1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "in.py").write_text("1")
    git(tmp_path, "add", "sub")
    (tmp_path / "sub" / "untracked.py").write_text("1")

    assert paths(list_files(tmp_path)) == ["a.py", "sub/in.py"]
    assert paths(list_files(tmp_path / "sub")) == ["in.py"]


def test_changed_means_against_the_last_commit_with_new_files_but_not_ignored_ones(tmp_path: Path):
    root = repository(tmp_path, same="1", edited="1", staged="1", gone="1")
    (root / ".gitignore").write_text("ignored.py\n")
    (root / "edited.py").write_text("2")
    (root / "staged.py").write_text("2")
    git(root, "add", "staged.py")
    (root / "gone.py").unlink()
    for name in ("new.py", "ignored.py"):
        (root / name).write_text("3")
    os.utime(root / "same.py", (1, 1))

    listed = list_files(root, git="changed")

    assert paths(listed) == [".gitignore", "edited.py", "new.py", "staged.py"]
    assert reasons(listed) == {"gone.py": "not in the working tree"}


def test_everything_is_changed_before_the_first_commit(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")

    assert paths(list_files(tmp_path, git="changed")) == ["a.py"]


def test_a_clean_tree_has_no_changed_files_and_says_so(tmp_path: Path):
    listed = list_files(repository(tmp_path, a="1"), git="changed")

    assert (listed.files, listed.skipped) == ([], [])
    assert listed.note is not None
    assert "differs from the last commit" in listed.note


def test_other_line_ends_in_the_working_tree_are_no_change(tmp_path: Path):
    root = repository(tmp_path, a="x\ny\n")
    (root / "a.py").write_bytes(b"x\r\ny\r\n")

    assert paths(list_files(root, git="changed")) == []


def test_binary_and_large_files_that_did_not_change_are_not_mentioned_among_changes(tmp_path: Path):
    (tmp_path / "large.txt").write_text("x" * 3000)
    (tmp_path / "logo.png").write_bytes(b"\0")
    root = repository(tmp_path, a="1")
    assert reasons(list_files(root, git="changed", max_file_kb=1)) == {}

    (root / "logo.png").write_bytes(b"\0\0")
    assert reasons(list_files(root, git="changed", max_file_kb=1)) == {"logo.png": "binary"}


def test_git_keeps_submodules_and_links_out_and_names_them(tmp_path: Path):
    inner = repository(tmp_path / "inner", a="1")
    root = repository(tmp_path / "outer", b="1")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "lib")
    (root / "link.py").symlink_to("b.py")
    git(root, "add", "-A")

    listed = list_files(root)

    assert paths(listed) == [".gitmodules", "b.py"]
    assert reasons(listed) == {"lib": "git submodule", "link.py": "symbolic link"}


def test_a_repository_inside_that_git_does_not_track_is_named_among_changes(tmp_path: Path):
    root = repository(tmp_path, a="1")
    repository(root / "nested", b="1")

    listed = list_files(root, git="changed")

    assert listed.files == []
    assert reasons(listed) == {"nested": "git repository of its own"}


def test_a_tracked_folder_replaced_by_a_link_out_of_the_root_is_not_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.py").write_text("1")
    repository(root)
    shutil.rmtree(root / "sub")
    (root / "sub").symlink_to(outside)

    listed = list_files(root)

    assert listed.files == []
    assert reasons(listed) == {"sub/a.py": "its folder is a symbolic link"}


@pytest.mark.parametrize("mode", ["tracked", "changed"])
def test_nothing_that_a_hostile_repository_configures_is_run(tmp_path: Path, mode: str):
    root = repository(tmp_path / "root", a="1")
    marker = tmp_path / "was-run"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    evil.chmod(0o755)
    (root / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for key in ("filter.evil.clean", "filter.evil.process", "filter.evil.smudge", "diff.evil.textconv"):
        git(root, "config", key, str(evil))
    for key in ("fsmonitor", "pager", "sshCommand", "editor", "askPass", "gitProxy"):
        git(root, "config", f"core.{key}", str(evil))
    git(root, "config", "core.hooksPath", str(tmp_path))
    git(root, "config", "extensions.partialClone", "origin")
    git(root, "config", "remote.origin.url", f"ext::{evil}")
    git(root, "config", "protocol.ext.allow", "always")
    (root / "a.py").write_text("2")
    for name in ("post-index-change", "post-checkout", "query-watchman"):
        shutil.copy(evil, tmp_path / name)
    tree = git(root, "-c", "core.fsmonitor=false", "rev-parse", "HEAD^{tree}").strip()
    (root / ".git" / "objects" / tree[:2] / tree[2:]).unlink()  # a partial clone would now fetch
    for trap in ("status", "diff"):
        subprocess.run(["git", trap], cwd=root, check=False, capture_output=True, timeout=30)
        assert marker.exists(), f"git {trap} does not fall into the trap"
        marker.unlink()

    assert "a.py" in paths(list_files(root, git=mode))  # type: ignore[arg-type]
    assert not marker.exists()


def test_a_program_named_git_in_the_scanned_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = repository(tmp_path / "root", a="1")
    marker = tmp_path / "was-run"
    (root / "git").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (root / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    monkeypatch.chdir(root)

    assert list_files(root).source == "git"
    assert not marker.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_owned_by_another_user_is_listed(tmp_path: Path):
    root = repository(tmp_path, a="1")
    for place in (root, root / ".git"):
        os.chown(place, 12345, 12345)

    assert list_files(root).source == "git"


def test_a_damaged_repository_falls_back_to_a_walk_and_says_why(tmp_path: Path):
    root = repository(tmp_path, a="1")
    (root / ".git" / "index").write_bytes(b"not an index, but long enough to be read as one" * 4)

    listed = list_files(root)

    assert (listed.source, paths(listed)) == ("walk", ["a.py"])
    assert listed.note is not None
    assert "git could not list them" in listed.note


@pytest.mark.parametrize("mode", ["tracked", "changed"])
def test_without_a_repository_every_file_is_listed_and_the_note_says_so(tmp_path: Path, mode: str):
    (tmp_path / "b.py").write_text("1")
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "c.rs").write_text("")
    (tmp_path / "node_modules" / "x").mkdir(parents=True)

    listed = list_files(tmp_path, git=mode)  # type: ignore[arg-type]

    assert (listed.source, paths(listed)) == ("walk", ["a/deep/c.rs", "b.py"])
    assert listed.note is not None
    assert listed.note.startswith("no git repository here: every file below")
    assert reasons(listed) == {"node_modules": "folder of tools or caches"}


def test_a_walk_can_be_asked_for_inside_a_repository(tmp_path: Path):
    root = repository(tmp_path, a="1")
    (root / "untracked.py").write_text("1")

    listed = list_files(root, git=None)

    assert (listed.source, listed.note, paths(listed)) == ("walk", None, ["a.py", "untracked.py"])


def test_a_walk_hashes_as_git_does(tmp_path: Path):
    (tmp_path / "a.py").write_bytes(b"x = 1\n")

    assert list_files(tmp_path, git=None).files[0]["blob"] == hashlib.sha1(b"blob 6\0x = 1\n").hexdigest()  # noqa: S324


def test_what_cannot_be_read_as_text_is_named_with_its_reason(tmp_path: Path):
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    (tmp_path / "binary").write_bytes(b"text first\0then not")
    (tmp_path / "large").write_bytes(b"x" * 1025)
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    previous = Path.cwd()
    os.chdir(tmp_path)  # a socket's whole path must be short
    listener.bind("socket")
    os.chdir(previous)
    listener.close()
    (tmp_path / os.fsdecode(b"name\xff.py")).write_text("1")

    listed = list_files(tmp_path, git=None, max_file_kb=1)

    assert listed.files == []
    assert reasons(listed) == {
        "binary": "binary",
        "dangling": "symbolic link",
        "fifo": "not a regular file",
        "large": "larger than 1 kB",
        "loop": "symbolic link",
        "name\\udcff.py": "name is not UTF-8",
        "outside": "symbolic link",
        "socket": "not a regular file",
    }


def test_a_name_that_is_not_utf8_in_git_is_named_not_dropped(tmp_path: Path):
    root = repository(tmp_path, a="1")
    (root / os.fsdecode(b"name\xff.py")).write_text("1")
    git(root, "add", "-A")

    listed = list_files(root)

    assert paths(listed) == ["a.py"]
    assert list(reasons(listed).values()) == ["name is not UTF-8"]


def test_unreadable_files_and_folders_are_named(open_folder: Path, unprivileged):
    (open_folder / "file").write_text("1")
    (open_folder / "file").chmod(0)
    (open_folder / "folder").mkdir(mode=0)
    with unprivileged():
        listed = list_files(open_folder, git=None)
        with pytest.raises(InputError, match="folder cannot be read: permission denied"):
            list_files(open_folder / "folder", git=None)
    assert set(reasons(listed)) == {"file", "folder"}


def test_odd_names_are_listed_as_they_are(tmp_path: Path):
    names = ["-rf.py", "a b.py", "line\nbreak.py", 'quo"te.py', "tab\t.py", "ünï.py"]
    root = repository(tmp_path)
    for name in names:
        (root / name).write_text("1")
    git(root, "add", "-A")

    assert paths(list_files(root)) == sorted(names)
    assert paths(list_files(root, git=None)) == sorted(names)


def test_an_empty_folder_gives_an_empty_list_with_a_note(tmp_path: Path):
    for mode in ("tracked", None):
        listed = list_files(tmp_path, git=mode)  # type: ignore[arg-type]
        assert listed.files == []
        assert listed.note


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_folder_is_refused_with_a_way_out(tmp_path: Path, name: str):
    (tmp_path / "file").touch()

    with pytest.raises(InputError) as caught:
        list_files(tmp_path / name)
    assert caught.value.mend


def test_patterns_choose_and_leave_out(tmp_path: Path):
    for name in ("a.py", "src/b.py", "src/gen/c.py", "src/d.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")

    assert paths(list_files(tmp_path, git=None, include=["**/*.py"])) == ["a.py", "src/b.py", "src/gen/c.py"]
    assert paths(list_files(tmp_path, git=None, include=["src"], exclude=["gen/"])) == ["src/b.py", "src/d.js"]


def test_a_cancelled_listing_stops(tmp_path: Path):
    (tmp_path / "a.py").touch()
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(Cancelled):
        list_files(tmp_path, git=None, cancelled=cancelled)
