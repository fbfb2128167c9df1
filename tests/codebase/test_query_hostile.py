"""Source that was written against the reader costs itself, not the others, the process or the machine."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from elexirion_dagster.codebase.query.code_base import open_code
from elexirion_dagster.codebase.query.contents import find_files, find_symbols
from elexirion_dagster.codebase.query.dependencies import find_impact, find_imports
from elexirion_dagster.codebase.query.survey import Means
from elexirion_dagster.codebase.query.worker import read
from elexirion_dagster.errors import Cancelled, ElexirionError, InputError

LANGUAGES = {
    "python": ("a.py", "def good():\n    pass\n"),
    "javascript": ("a.js", "function good() {}\n"),
    "typescript": ("a.ts", "function good(): void {}\n"),
    "go": ("a.go", "package a\nfunc good() {}\n"),
    "rust": ("a.rs", "fn good() {}\n"),
    "elixir": ("a.ex", "defmodule A do\n  def good, do: 1\nend\n"),
}


def ask(root, **options):
    means = Means(workers=2, timeout_s=120)
    return open_code(root, include=(), exclude=(), languages=(), means=means, **options)


def names(answer):
    return {(one["path"], one["name"]) for one in answer.records}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_stands_before_a_syntax_error_is_still_found(language):
    path, source = LANGUAGES[language]
    bad = source.count("\n") + 2
    answer = read(path, language, (source + "\n)]} ((( @@ <<<\n").encode(), "symbols")
    assert "good" in {one["name"] for one in answer["found"]}
    assert (answer["line"] <= bad, f"line {answer['line']}" in answer["reason"]) == (True, True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_cut_of_a_file_is_read_without_a_fault(language):
    path, source = LANGUAGES[language]
    for end in range(len(source)):
        for wanted in ("symbols", "imports"):
            assert read(path, language, source[:end].encode(), wanted).keys() == {"found", "line", "reason"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reader_survives_what_is_no_text_of_the_language(language):
    path, source = LANGUAGES[language]
    latin = source.encode() + b"# caf\xe9\n"
    answer = read(path, language, latin, "symbols")
    assert "good" in {one["name"] for one in answer["found"]}
    assert (answer["line"], "not UTF-8" in answer["reason"]) == (source.count("\n") + 1, True)
    for data in (b"", b"\xef\xbb\xbf" + source.encode(), bytes(range(256)), "\U0001d49c\u2028\u200f".encode()):
        assert isinstance(read(path, language, data, "symbols")["found"], list)


@pytest.mark.parametrize(
    ("language", "head", "opening"),
    [
        ("python", "", "("),
        ("javascript", "", "function f(){"),
        ("typescript", "", "namespace N{"),
        ("go", "package a\n", "func f() {"),
        ("rust", "", "mod m {"),
        ("rust", "use ", "a::{"),
        ("elixir", "", "defmodule A do "),
    ],
)
def test_ten_thousand_levels_are_read_in_bounded_answers(language, head, opening):
    path, _ = LANGUAGES[language]
    data = (head + opening * 10_000).encode()
    for wanted in ("symbols", "imports"):
        assert len(json.dumps(read(path, language, data, wanted))) < 60 * len(data)


def test_a_file_that_takes_all_memory_costs_only_itself(tmp_path):
    (tmp_path / "bomb.tsx").write_text("a<b," * 60_000)
    for index in range(3):
        (tmp_path / f"good{index}.tsx").write_text(f"import x from './good{index - 1}'\nfunction f{index}() {{}}\n")
    code = ask(tmp_path)
    symbols = find_symbols(code, name=None, kinds=())
    assert names(symbols) == {(f"good{index}.tsx", f"f{index}") for index in range(3)}
    (unread,) = symbols.unparsed
    assert (unread["path"], unread["line"]) == ("bomb.tsx", None)
    assert "gave up" in unread["reason"] or "takes more than" in unread["reason"]
    assert [one["path"] for one in find_impact(code, of=["good0.tsx"], max_depth=None).records] == [
        "good1.tsx",
        "good2.tsx",
    ]


def test_a_file_that_takes_too_long_is_named(tmp_path):
    program = "import signal; from elexirion_dagster.codebase.query import worker; worker.CPU_S = 0.2; worker.main()"
    (tmp_path / "slow.rs").write_text("a?b:" * 250_000)
    asked = json.dumps({"root": str(tmp_path), "files": [["slow.rs", "rust"]], "wanted": "symbols"})
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=asked,
        text=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stdout) == (-27, "")


def test_binary_large_linked_and_lost_files_are_named_with_their_reason(git_repository):
    (git_repository / "binary.py").write_bytes(b"a\0b")
    (git_repository / "large.py").write_text("x = 1\n" * 200_000)
    (git_repository / "link.py").symlink_to("/etc/passwd")
    (git_repository / "lost.py").write_text("")
    (git_repository / "image.png").write_bytes(b"\0")
    subprocess.run(["git", "add", "-A"], cwd=git_repository, check=True)
    (git_repository / "lost.py").unlink()
    reasons = {one["path"]: one["reason"] for one in find_imports(ask(git_repository), of=None).unparsed}
    assert reasons["binary.py"] == "binary"
    assert reasons["large.py"] == "larger than 1024 kB"
    assert reasons["link.py"] == "symbolic link"
    assert reasons["lost.py"] == "not in the working tree"
    assert "line" in reasons["broken.py"]
    assert "image.png" not in reasons


def test_a_file_swapped_for_a_link_after_the_listing_is_not_followed(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "secret.py").write_text("def secret():\n    pass\n")
    (tree / "a.py").write_text("")
    code = ask(tree)
    (tree / "a.py").unlink()
    (tree / "a.py").symlink_to(tmp_path / "secret.py")
    answer = find_symbols(code, name=None, kinds=())
    assert (answer.records, [one["path"] for one in answer.unparsed]) == ([], ["a.py"])


def test_a_circle_of_imports_ends(tmp_path):
    for index in range(5):
        (tmp_path / f"m{index}.py").write_text(f"import m{(index + 1) % 5}\n")
    impact = find_impact(ask(tmp_path), of=["m0.py"], max_depth=None)
    assert [(one["path"], one["depth"]) for one in impact.records] == [(f"m{5 - n}.py", n) for n in range(1, 5)]


def test_a_cancelled_question_is_given_up(tmp_path):
    (tmp_path / "a.py").write_text("import b\n")
    means = Means(workers=2, timeout_s=60, cancelled=threading.Event())
    code = open_code(tmp_path, include=(), exclude=(), languages=(), means=means)
    means.cancelled.set()
    for ask_for in (
        lambda: find_symbols(code, name=None, kinds=()),
        lambda: find_impact(code, of=["a.py"], max_depth=None),
        lambda: find_files(code, name=None, contains="import"),
    ):
        with pytest.raises(Cancelled):
            ask_for()


def test_an_answer_too_long_to_keep_is_refused(tmp_path):
    for index in range(4):
        (tmp_path / f"a{index}.go").write_text("package a\n" + "func f() {}\n" * 60_000)
    with pytest.raises(InputError, match="200,000 records"):
        find_symbols(ask(tmp_path), name=None, kinds=())
    assert find_symbols(ask(tmp_path), name="g", kinds=()).records == []


def test_a_question_that_is_out_of_time_fails_with_that_cause(tmp_path):
    (tmp_path / "slow.rs").write_text("a?b:" * 250_000)
    code = open_code(tmp_path, include=(), exclude=(), languages=(), means=Means(workers=1, timeout_s=0.2))
    with pytest.raises(ElexirionError) as error:
        find_symbols(code, name=None, kinds=())
    assert error.value.cause == "timeout"
