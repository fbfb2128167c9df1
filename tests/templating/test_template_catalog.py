import pytest

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine

SCOPE = {
    "rows": [{"k": "b", "n": 2, "in": {"x": 1}}, {"k": "a", "n": 1}, {"k": "B", "n": 3}],
    "words": ["b", "A", "c", "a"],
    "text": "one two\nthree",
    "path": "/src/pkg/mod.py",
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'Ab' | upper", "AB"),
        ("'Ab' | lower", "ab"),
        ("'ab cD-ef' | title", "Ab Cd-Ef"),
        ("'ab' | capitalize", "Ab"),
        ("' a ' | trim", "a"),
        ("'xax' | trim('x')", "a"),
        ("'a' | center(5)", "  a  "),
        ("text | indent(2)", "one two\n  three"),
        ("text | indent(2, true)", "  one two\n  three"),
        ("text | indent('> ', first=true)", "> one two\n> three"),
        ("'a.b.c' | replace('.', '/')", "a/b/c"),
        ("'a.b.c' | replace('.', '/', 1)", "a/b.c"),
        ("'one two three' | truncate(7)", "one..."),
        ("'one two three' | truncate(7, true)", "one ..."),
        ("text | wordcount", 3),
        ("'a b/c' | urlencode", "a%20b/c"),
        ("'<a & \"b\">' | e", "&lt;a &amp; &quot;b&quot;&gt;"),
        ("[1, none] | string", "[1, null]"),
        ("path | basename", "mod.py"),
        ("path | dirname", "/src/pkg"),
        ("'%s has %d (%.1f%%)' | format('x', 3, 2.55)", "x has 3 (2.5%)"),
        ("'%5.2f|%-4d|%04x' % (1.005, 7, 255)", " 1.00|7   |00ff"),
        ("'%(a)s' | format({'a': [1]})", "[1]"),
        ("words | join(', ')", "b, A, c, a"),
        ("rows | join(',', attribute='n')", "2,1,3"),
        ("rows[0] | json", '{"k": "b", "n": 2, "in": {"x": 1}}'),
        ("[1] | tojson(2)", "[\n  1\n]"),
        ("'{\"a\": [1, 2.5]}' | from_json", {"a": [1, 2.5]}),
        ("'-7' | int", -7),
        ("'7.9' | int", 7),
        ("'x' | int(5)", 5),
        ("'ff' | int(base=16)", 255),
        ("'2.5' | float", 2.5),
        ("'nan' | float(1.5)", 1.5),
        ("2.567 | round(1)", 2.6),
        ("2.1 | round(method='ceil')", 3.0),
        ("-3 | abs", 3),
        ("words | sort", ["A", "a", "b", "c"]),
        ("words | sort(case_sensitive=true)", ["A", "a", "b", "c"]),
        ("words | sort(reverse=true)", ["c", "b", "A", "a"]),
        ("rows | sort(attribute='k,n') | map(attribute='n')", [1, 2, 3]),
        ("words | unique", ["b", "A", "c"]),
        ("[[1], [1], {'a': 1}, {'a': 1}] | unique", [[1], {"a": 1}]),
        ("words | reverse", ["a", "c", "A", "b"]),
        ("'abc' | reverse", "cba"),
        ("words | first ~ words | last", "ba"),
        ("rows | map(attribute='in.x', default=0)", [1, 0, 0]),
        ("words | map('upper')", ["B", "A", "C", "A"]),
        ("[' a '] | map('replace', 'a', 'b')", [" b "]),
        ("rows | selectattr('n', 'gt', 1) | map(attribute='k')", ["b", "B"]),
        ("rows | selectattr('in') | length", 1),
        ("rows | rejectattr('k', 'in', ['a', 'b']) | map(attribute='n')", [3]),
        ("[0, 1, 2, none] | select", [1, 2]),
        ("[1, 2, 3] | reject('odd')", [2]),
        ("rows | groupby('k') | map(attribute='grouper')", ["B", "a", "b"]),
        ("rows | groupby('in.x', default=0) | map('last') | map('length')", [2, 1]),
        ("rows | sum(attribute='n')", 6),
        ("[1.5, 2] | sum(start=1)", 4.5),
        ("rows | max(attribute='n')", {"k": "B", "n": 3}),
        ("[3, 1] | min", 1),
        ("[1, 2, 3] | batch(2)", [[1, 2], [3]]),
        ("[1, 2, 3] | batch(2, 0)", [[1, 2], [3, 0]]),
        ("[1, 2, 3] | slice(2)", [[1, 2], [3]]),
        ("[1, 2, 3] | slice(2, 0)", [[1, 2], [3, 0]]),
        ("{'b': 1, 'a': 2} | dictsort", [["a", 2], ["b", 1]]),
        ("{'b': 1, 'a': 2} | dictsort(by='value', reverse=true)", [["a", 2], ["b", 1]]),
        ("{'b': 1} | items", [["b", 1]]),
        ("{'b': 1} | list", ["b"]),
        ("words | length + ({'a': 1} | count)", 5),
        ("'' | default('x', true)", "x"),
        ("'a1b22' | regex_findall('[0-9]+')", ["1", "22"]),
        ("'a=1,b=2' | regex_findall('(\\\\w)=(\\\\d)')", [["a", "1"], ["b", "2"]]),
        ("'v1.2' | regex_search('v(\\\\d)')", "1"),
        ("'x' | regex_search('y')", None),
        ("'a-b' | regex_replace('(\\\\w)-(\\\\w)', '\\\\2+\\\\1')", "b+a"),
        ("'abc' | matches('b')", True),
        ("'a,b,c'.split(',', 1)", ["a", "b,c"]),
        ("text.splitlines()", ["one two", "three"]),
        ("path.startswith('/src') and path.endswith(['.py', '.pyi'])", True),
        ("path.removeprefix('/src/')", "pkg/mod.py"),
        ("', '.join(words)", "b, A, c, a"),
        ("'7'.zfill(3)", "007"),
        ("words.index('c') + words.count('a')", 3),
        ("rows[0].get('zz', 'd') ~ rows[0].keys() | length", "d3"),
        ("{'a': 1}.values()", [1]),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("'ab' * 2 ~ 2 * [0] | length", "abab2"),
        ("7 // 2 + 7 % 4 - -1", 7),
        ("words[1:3]", ["A", "c"]),
        ("'abc'[::-1]", "cba"),
        ("2 ** 10", 1024),
    ],
)
def test_filters_methods_and_operators(engine, expression, value):
    result = engine.evaluate("{{ " + expression + " }}", SCOPE)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    "condition",
    [
        "1 is odd and 2 is even and 9 is divisibleby(3)",
        "'a' is string and 1 is number and 1 is integer and 1.5 is float",
        "true is boolean and true is true and false is false and true is not number",
        "[] is sequence and {} is mapping and 'a' is iterable and 1 is not iterable",
        "none is none and x is undefined and words is defined",
        "'a' is lower and 'A' is upper",
        "1 is eq(1) and 1 is ne(2) and 1 is lt(2) and 2 is ge(2)",
        "'a' is in(words) and 'z' not in words",
        "'abc' is matches('^a.c$')",
        "1 < 2 <= 2 < 3",
        "{'a': [1]} == {'a': [1]} and [1, 2] < [1, 3]",
    ],
)
def test_tests_and_comparisons(engine, condition):
    assert engine.condition(condition, SCOPE) is True


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 | first", "expected a list, got a number"),
        ("words | sum", "expected a number, got a text"),
        ("5 | length", "a number has no length"),
        ("words | items", "expected a map, got a list"),
        ("words.index('zz')", "the entry is not in the list"),
        ("1 | round('x')", "'x'"),
        ("1.5 | round(1, 'up')", "expected 'common', 'half_up', 'ceil' or 'floor', got 'up'"),
        ("'x' + 1", "cannot compute a text + a number"),
        ("'x' - 'y'", "cannot compute a text - a text"),
        ("[2] < 3", "cannot compare a list with a number"),
        ("[1, 'a'] | sort", "not supported"),
        ("1 / 0", "division by zero"),
        ("2.0 ** 5000", "too large"),
        ("(0 - 8) ** 0.5", "not a finite number"),
        ("'{' | from_json", "not JSON"),
        ("'1e999' | from_json", "not JSON"),
        ("'NaN' | from_json", "not JSON"),
        ("3 | from_json", "expected JSON text, got a number"),
        ("'%d' | format('x')", "expected a number, got a text"),
        ("'%s %s' | format('x')", "no value for %s"),
        ("'%q' | format('x')", "'%q' is not a format"),
        ("'a' | regex_search('(?=a)')", "not RE2"),
        ("'a' | regex_search(1)", "expected a text and a pattern"),
        ("rows | map(attr='k')", "map does not take 'attr'"),
        ("words()", "a list cannot be called"),
        ("'a'.upper(1, 2)", "argument"),
        ("'\\ud800'", "half a character"),
        ("-words", "- wants a number, got a list"),
    ],
)
def test_misuse_is_named(engine, expression, message):
    with pytest.raises(ExpressionError) as caught:
        engine.evaluate("{{ " + expression + " }}", SCOPE)
    assert message in caught.value.message
