import pytest

from elexirion_dagster.codebase.claims import settle
from elexirion_dagster.redact import Redactor

TEXT = """import os


def remove(name):
    os.system('rm ' + name)
    return name


def again(name):
    return name
"""


@pytest.fixture
def judged(tmp_path):
    (tmp_path / "a.py").write_text(TEXT)
    file = {"root": str(tmp_path), "path": "a.py", "blob": "x", "size": 1, "language": "python"}

    def judge(*claims, known=(), files=(file,), reviews=None):
        said = [{"path": "a.py", "claims": list(claims)}] if reviews is None else reviews
        return settle(said, files, root=tmp_path, known=list(known), redactor=Redactor())

    return judge


def claim(quote, line=1, rule="bug", **more):
    return {"quote": quote, "line": line, "rule": rule, "severity": "high", "message": "It is wrong.", **more}


@pytest.mark.parametrize(
    ("quote", "said", "line"),
    [
        ("    os.system('rm ' + name)", 5, 5),
        ("os.system('rm '  +  name)", 1, 5),  # the model counted wrong, and white space is no matter
        ("5| os.system('rm ' + name)", 5, 5),  # the number of the prompt came along
        ("system('rm ' + name)", 5, 5),
        ("return name", 1, 6),
        ("return name", 99, 10),
        ("def again(name):\n    return name", 9, 9),
    ],
)
def test_a_claim_stands_where_its_quote_does(judged, quote, said, line):
    (finding,) = judged(claim(quote, said)).findings
    assert (finding.tool, finding.rule, finding.severity, finding.line) == ("review", "bug", "high", line)
    assert finding.snippet.startswith(TEXT.split("\n")[line - 1])


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        ("os.system('rm -rf ' + name)", "the file has no such line"),
        ("return nam", "the file has no such line"),  # too short for a part of a line
        ("import os\ndef remove(name):", "the file has no such line"),  # lines that do not follow one another
        ("", "it quotes nothing"),
        ("  )  ", "it quotes nothing"),
        ("import os\n" * 11, "it quotes more than 10 lines"),
    ],
)
def test_a_claim_that_quotes_no_line_of_the_file_is_rejected_with_its_reason(judged, quote, reason):
    settled = judged(claim(quote))
    assert settled.findings == []
    assert [(one["path"], one["reason"]) for one in settled.rejected] == [("a.py", reason)]


def test_what_an_analyzer_found_or_the_model_said_already_is_no_new_finding(judged):
    known = {"path": "a.py", "line": 5, "end_line": 5}
    quote = "os.system('rm ' + name)"
    settled = judged(claim(quote), claim("return name", 6), claim("return  name", 6), known=[known])
    assert [finding.line for finding in settled.findings] == [6]
    assert [one["reason"] for one in settled.rejected] == ["an analyzer found that line already", "claimed twice"]


def test_a_file_that_nobody_reviewed_or_that_went_away_is_named(judged, tmp_path):
    gone = {"root": str(tmp_path), "path": "gone.py", "blob": "x"}
    settled = judged(files=[gone], reviews=[{"path": "gone.py", "claims": [claim("pass")]}])
    assert ([one["path"] for one in settled.unread], len(settled.rejected)) == (["gone.py"], 1)
    assert judged(reviews=[]).unread == [{"path": "a.py", "tool": "review", "reason": "not reviewed"}]


def test_a_review_cannot_speak_of_another_file(judged):
    settled = judged(reviews=[{"path": "../b.py", "claims": [claim("import os")]}])
    assert [(one["path"], one["reason"]) for one in settled.rejected] == [("../b.py", "no such file was reviewed")]


def test_a_model_may_quote_a_line_as_it_was_shown_with_its_secret_taken_out(judged, tmp_path):
    secret = "AKIA" + "ABCDEFGH12345678"
    (tmp_path / "a.py").write_text(f"key = '{secret}'\n")
    settled = judged(claim("key = '[redacted:aws_access_key]'"), claim("nothing here", message=secret))
    assert [finding.line for finding in settled.findings] == [1]
    assert secret not in str(settled)


@pytest.mark.parametrize("bad", [{"severity": "awful"}, {"rule": None, "line": "x", "message": None}])
def test_odd_fields_of_a_claim_break_nothing(judged, bad):
    settled = judged(claim("import os", **bad))
    assert len(settled.findings) + len(settled.rejected) == 1
