import pytest

from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.errors import InputError


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("**/*.py", ["a.py", "x/y/a.py"], ["a.pyc", "a.js"]),
        ("*.py", ["a.py", "x/y/a.py"], ["a.pyx"]),
        ("src/*.py", ["src/a.py"], ["src/x/a.py", "x/src/a.py"]),
        ("/a.py", ["a.py"], ["x/a.py"]),
        ("docs/", ["docs/a.md", "x/docs/b/c"], ["docs", "docsx/a"]),
        ("docs", ["docs", "docs/a.md", "x/docs/b"], ["mydocs"]),
        ("src/**/test_?.js", ["src/test_a.js", "src/x/y/test_b.js"], ["src/test_ab.js", "test_a.js"]),
        ("src/**", ["src/a", "src/x/y"], ["src", "lib/a"]),
        ("*.{js,ts}", ["a.js", "x/a.ts"], ["a.jsx", "a.{js,ts}"]),
        ("[ab]?.py", ["ax.py", "b1.py"], ["cx.py", "a/.py"]),
        ("[!a]b", ["cb"], ["ab"]),
        ("a+b(c).py", ["a+b(c).py"], ["aab(c).py"]),
        (r"\*.py", ["*.py"], ["a.py"]),
        ("line*", ["line\nbreak"], ["other"]),
        ("a,b", ["a,b"], ["a"]),
    ],
)
def test_patterns_match_as_in_gitignore(pattern: str, matched: list[str], others: list[str]):
    matches = matcher([pattern])

    assert [path for path in [*matched, *others] if matches(path)] == matched


def test_no_pattern_matches_nothing():
    assert not matcher([])("a.py")


def test_a_pattern_that_would_backtrack_forever_is_matched_at_once():
    assert not matcher(["*a" * 60 + "b"])("a" * 5000)


@pytest.mark.parametrize("pattern", ["{a,b", "[z-a]"])
def test_a_pattern_that_is_none_is_refused_with_a_way_out(pattern: str):
    with pytest.raises(InputError) as caught:
        matcher([pattern])
    assert caught.value.mend
