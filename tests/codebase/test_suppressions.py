import subprocess
from datetime import date

import pytest

from elexirion_dagster.codebase.suppressions import FILE, Suppression, entries, load, parse
from elexirion_dagster.errors import InputError
from elexirion_dagster.redact import Redactor

MARK = "f3b7c1a09d24e5f6"
ENTRY = f"  - {{fingerprint: {MARK}, reason: fine, owner: ada}}\n"


def test_a_repository_without_the_file_suppresses_nothing(tmp_path):
    assert load(tmp_path) == ()


def test_the_file_names_finding_reason_owner_and_last_day(tmp_path):
    (tmp_path / ".elexirion").mkdir()
    (tmp_path / FILE).write_text(
        f"suppressions:\n{ENTRY}  - fingerprint: {MARK}\n    path: a b.py\n    reason: x\n"
        "    owner: bo\n    expires: 2027-06-30\n"
    )
    assert load(tmp_path) == (
        Suppression(fingerprint=MARK, reason="fine", owner="ada"),
        Suppression(fingerprint=MARK, path="a b.py", reason="x", owner="bo", expires=date(2027, 6, 30)),
    )


def test_secrets_in_a_reason_do_not_reach_the_journal():
    said = entries(parse(f"suppressions:\n{ENTRY}".replace("fine", "sk-ant-api03-" + "Ab1" * 30).encode()), Redactor())
    assert said == [
        {"fingerprint": MARK, "path": None, "reason": "[redacted:anthropic_key]", "owner": "ada", "expires": None}
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("suppressions: 3", r"suppressions.yaml:1:1: suppressions: .*tuple"),
        ("- a", "the document: .*"),
        (f"suppressions:\n{ENTRY}{ENTRY}", r"yaml:3:5: .* a second time \(first in line 2\)"),
        (
            f"suppressions:\n{ENTRY}".replace("reason", "raeson"),
            r"yaml:2:\d+: 'raeson' is no key of an entry\n  Did you",
        ),
        (f"suppressions:\n{ENTRY}".replace(MARK, "'*'"), r"yaml:2:\d+: fingerprint must be `f`"),
        (f"suppressions:\n{ENTRY}".replace("ada", "ada, expires: soon"), r"yaml:2:\d+: expires: "),
        (f"suppressions:\n{ENTRY}".replace("fine", "''"), r"yaml:2:\d+: reason: "),
        ("suppressions: [!!python/object/apply:os.system [id]]", "yaml:1:\\d+: the tag"),
        ("a: &a [x]\nsuppressions: *b", "anchor"),
        ("\xff", "not UTF-8"),
        ("suppressions: [" * 100, "nested deeper|not closed|flow"),
        ("x" * 1_000_001, "at most"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_line(text, expected):
    with pytest.raises(InputError, match=expected):
        parse(text.encode("latin-1"))


def test_a_link_out_of_the_repository_is_not_followed(tmp_path):
    outside = tmp_path / "outside.yaml"
    outside.write_text(f"suppressions:\n{ENTRY}")
    repository = tmp_path / "repository"
    (repository / ".elexirion").mkdir(parents=True)
    (repository / FILE).symlink_to(outside)
    with pytest.raises(InputError, match=r"suppressions.yaml cannot be used: .*leads out"):
        load(repository)


def git(folder, *words):
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_has_its_own_file_whatever_lies_in_the_folder(git_repository):
    without = git(git_repository, "rev-parse", "HEAD")
    (git_repository / ".elexirion").mkdir()
    (git_repository / FILE).write_text(f"suppressions:\n{ENTRY}")
    git(git_repository, "add", ".")
    git(git_repository, "commit", "-q", "-m", "lives with it")
    commit = git(git_repository, "rev-parse", "HEAD")
    (git_repository / FILE).write_text("suppressions: [")
    assert [one.owner for one in load(git_repository, commit)] == ["ada"]
    assert load(git_repository, without) == ()
    (git_repository / FILE).unlink()
    (git_repository / FILE).symlink_to("/etc/hostname")
    git(git_repository, "add", ".")
    git(git_repository, "commit", "-q", "-m", "a link")
    with pytest.raises(InputError, match="no regular file"):
        load(git_repository, git(git_repository, "rev-parse", "HEAD"))
    with pytest.raises(InputError, match="cannot be read"):
        load(git_repository, "0" * 40)
