"""One repository has one identity, one file one partition key, whatever they are called."""

import subprocess
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.partitions.utils import raise_error_on_invalid_partition_key_substring
from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.codebase.identity import normal_url, parse_key, partition_key, repository
from elexirion_dagster.errors import InputError


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/team/code",
        "https://user:secret@Example.org/team/code.git",
        "https://example.org:443/team/code.git/",
        "ssh://git@example.org:2222/team/code.git",
        "git@example.org:team/code.git",
        "example.org:/team/code",
        "git://example.org/team/code",
    ],
)
def test_every_form_of_one_remote_is_the_same_repository(url):
    assert normal_url(url, Path("/")) == "example.org/team/code"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///srv/code.git", "/srv/code"),
        ("../code.git", "/home/code"),
        ("https://example.org:8443/code", "example.org:8443/code"),
    ],
)
def test_places_that_differ_stay_apart(url, expected):
    assert normal_url(url, Path("/home/mine")) == expected


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
HOSTILE = [
    "a b",
    " ",
    "...",
    "..",
    "a|b",
    "::",
    "x::y",
    "a,b",
    "[a...b]",
    "n\nl",
    "*",
    '"',
    "'",
    "%2E",
    "\u202e",
    "日本/ü.py",
]


@given(NAMES, NAMES)
def test_a_key_leads_back_to_its_file_and_dagster_takes_it(repo, path):
    key = partition_key(repo, path)
    assert parse_key(key) == (repo, path)
    raise_error_on_invalid_partition_key_substring([key])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_partitions_that_can_be_picked(name, tmp_path):
    key = partition_key("example.org/code", name)
    assert parse_key(key) == ("example.org/code", name)
    assert not set(",|[]\"'*\n") & set(key)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        instance.add_dynamic_partitions("names", [key])
        assert instance.has_dynamic_partition("names", key)


@pytest.mark.parametrize("key", ["", "no separator", "repo::", "repo::a,b", "repo::%zz", "repo::a::b"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InputError, match="names no file"):
        parse_key(key)


def test_a_name_that_is_no_utf8_has_no_key():
    with pytest.raises(InputError, match="not UTF-8"):
        partition_key("repo", "\udcff.py")


def git(folder, *words):
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_clone_subfolder_and_detached_head_are_told_apart(git_repository, tmp_path):
    git(git_repository, "remote", "add", "origin", "https://user:secret@example.org/code.git")
    found = repository(git_repository)
    assert (found.identity, found.branch) == ("example.org/code", "main")
    assert repository(git_repository / "src").identity == "example.org/code//src"
    git(git_repository, "checkout", "-q", "--detach")
    assert repository(git_repository).branch is None
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{git_repository}", "clone")
    assert repository(tmp_path / "clone").shallow


def test_a_folder_without_git_and_a_repository_without_a_commit_are_their_path(tmp_path):
    assert repository(tmp_path).identity == str(tmp_path)
    assert not repository(tmp_path).git
    git(tmp_path, "init", "-q")
    assert (repository(tmp_path).git, repository(tmp_path).commit) == (True, None)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        repository(tmp_path / "nowhere")


def test_a_bare_repository_and_its_clones_are_one_and_one_in_a_working_tree_is_code(git_repository, tmp_path):
    def git(folder, *words):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)

    server, clone = tmp_path / "server.git", tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--bare", str(git_repository), str(server))
    git(server, "remote", "remove", "origin")
    git(tmp_path, "clone", "-q", str(server), str(clone))
    found = repository(server)
    assert (found.git, found.bare, found.branch) == (True, True, "main")
    assert found.commit == repository(clone).commit
    assert found.identity == repository(clone).identity == str(tmp_path / "server")
    assert not repository(clone).bare
    inside = clone / "fixture.git"
    git(clone, "clone", "-q", "--bare", str(server), str(inside))
    assert (repository(inside).git, repository(inside).bare) == (False, False)
