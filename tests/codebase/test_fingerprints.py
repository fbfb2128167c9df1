from dataclasses import replace

import pytest

from elexirion_dagster.codebase.analyzers.base import RawFinding
from elexirion_dagster.codebase.analyzers.snippets import finish
from elexirion_dagster.redact import Redactor

SOURCE = """\
import os


class Shop:
    def buy(self, text):
        run(text, shell=True)
        run(text, shell=True)

    def sell(self, text):
        run(text, shell=True)
"""


def marks(text, *, path="shop.py", word="shell=True", rule="B602"):
    """The fingerprints of every line that has the word, in the order of the code."""
    lines = [at for at, line in enumerate(text.split("\n"), start=1) if word in line]
    raws = [("bandit", RawFinding(rule, "high", "high", path, line, "m", line)) for line in lines]
    return [finding.fingerprint for finding in finish(raws, path, text, Redactor())]


def test_equal_findings_are_told_apart_by_what_they_stand_in_and_by_their_number():
    assert len(set(marks(SOURCE))) == 3


@pytest.mark.parametrize(
    "edited",
    [
        "# moved\n\n\n" + SOURCE,
        SOURCE.replace("import os\n", "import os\nimport sys\n\n\ndef other():\n    pass\n"),
        SOURCE.replace("run(text, shell=True)", "run(text,  shell=True)  # checked"),
        SOURCE.replace("run(text, shell=True)", "run(text, shell=True,)"),
        SOURCE.replace("\n", "\r\n"),
        SOURCE.replace("def buy(self, text):", "def buy(\n        self,\n        text,\n    ):"),
    ],
    ids=["lines", "a function before", "white space and comment", "last comma", "line ends", "a wrapped head"],
)
def test_a_fingerprint_survives_what_does_not_change_the_code(edited):
    assert marks(edited) == marks(SOURCE)
    assert marks(edited, path="sub/other.py") == marks(SOURCE)


def test_a_copy_is_new_and_leaves_the_others_as_they_were():
    copied = SOURCE.replace("def sell", "def give(self, text):\n        run(text, shell=True)\n\n    def sell")
    before, after = marks(SOURCE), marks(copied)
    assert [mark in before for mark in after] == [True, True, False, True]


def test_edited_code_is_another_finding():
    assert set(marks(SOURCE)).isdisjoint(marks(SOURCE.replace("run(text", "run(user_text")))


def test_two_findings_in_one_line_are_told_apart_by_the_part_that_is_meant():
    line = "import os, sys\n"
    both = [RawFinding("F401", "info", "high", "a.py", 1, "m", 1, column=at, end_column=at + 1) for at in (8, 12)]
    os, sys = finish([("ruff", raw) for raw in both], "a.py", line, Redactor())
    (alone,) = finish([("ruff", both[1])], "a.py", line, Redactor())
    assert os.fingerprint != sys.fingerprint
    assert alone.fingerprint == sys.fingerprint


def test_nobody_can_guess_a_secret_from_a_fingerprint():
    def of(secret):
        raw = RawFinding("B105", "low", "high", "a.py", 1, "m", 1, column=12, end_column=30, secret=secret)
        (finding,) = finish([("bandit", raw)], "a.py", f'password = "{secret}"\n', Redactor())
        return finding

    assert of("correct horse").fingerprint == of("battery staple").fingerprint


def test_findings_keep_the_order_in_which_they_came():
    raws = [("t", RawFinding("R", "low", "high", "a.py", line, "m", line)) for line in (3, 1, 2)]
    found = finish(raws, "a.py", "a\nb\nc\n", Redactor())
    assert [finding.line for finding in found] == [3, 1, 2]
    assert replace(found[0], fingerprint=None).symbol == ""
