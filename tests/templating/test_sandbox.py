import time

import psutil
import pytest

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Bounds, Engine

SCOPE = {"x": list(range(1_000)), "t": "a" * 2_000_000, "rows": [{"a": 1}]}
TWINS = (
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
)
"""Two lists that are equal, small in memory and 2**60 entries large when walked."""

TOO_MUCH = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in x %}{% for b in x %}{% for c in x %}{{ c }}{% endfor %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ ['a'] * 10**9 }}",
    "{{ 10**(10**10) }}",
    "{{ 2**4000 * 2**4000 }}",
    "{{ range(10**9) }}",
    "{{ range(0, 0 - 10**18, -1) | list }}",
    "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ns.x + [t ~ i] %}{% endfor %}",
    "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = ns.x + [t[i:]] %}{% endfor %}",
    "{{ [[[[0] * 1000] * 1000] * 1000] }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%1000000000d' is even }}",
    "{{ ('%s' * 1000) | format(t) }}{{ ('%(a)s' * 1000) | format({'a': t}) }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ t | replace('a', '\n') | indent(1000) }}",
    "{{ t | replace('a', t) }}",
    "{{ t.replace('', t) }}",
    "{{ ([t] * 1000) | join }}",
    "{{ (['a'] * 1000) | join(t) }}",
    "{{ t.join(['a'] * 1000) }}",
    "{{ [1] | batch(10**9, 'x') }}",
    "{{ [1] | slice(10**9) }}",
    "{{ t | list }}",
    "{{ t.split('a') }}",
    "{{ ([x] * 1000) | json }}",
    "{{ x | json(10**9) }}",
    "{{ 7 | round(-10**9) }}",
    "{% for a in x %}{{ t }}{% endfor %}",
    "{% set b %}{% for a in x %}{{ t }}{% endfor %}{% endset %}",
    "{% set b %}{% for a in range(99999) %}" + "y" * 10_000 + "{% endfor %}{% endset %}",
    "{% for a in range(99999) %}" + "y" * 10_000 + "{% endfor %}",
    "{% for a in range(99999) %}{{ t == t ~ '' }}{% endfor %}",
    "{% for a in range(99999) %}{{ x | sort }}{% endfor %}",
    "{{ t | regex_replace('a', t) }}",
    "{{ t | regex_replace('', 'x' * 1000) }}",
    "{{ t | matches('(' ~ 'a?' * 400 ~ ')') }}",
    "{{ 'a' | matches('((a{100}){100}){100}') }}",
    "{{ x | each('x | where(\"item\")') }}",
    '{{ x | each("t ~ item") }}',
    "{{ 'a' | matches('a' * 2000) }}",
    "{{ t.rsplit('b' ~ 'a' * 1000000) }}",
    "{{ t.strip('b' * 1000000 ~ 'a') }}",
    "{{ ('[' * 100000) | from_json }}",
    "{{ rows | map(attribute='a.' * 500000) }}",
    TWINS + "{{ ns.x }}",
    TWINS + "{{ ns.x == ns.y }}",
    TWINS + "{{ ns.x < ns.y }}",
    TWINS + "{{ ns.x in [ns.y] }}",
    TWINS + "{{ ns.x is eq(ns.y) }}",
    TWINS + "{{ [ns.x, ns.y] | sort }}",
    TWINS + "{{ [ns.x, ns.y] | max }}",
    TWINS + "{{ [ns.x, ns.y] | unique }}",
    TWINS + "{{ [ns.x].index(ns.y) }}",
    TWINS + "{{ [ns.x].count(ns.y) }}",
    TWINS + "{{ ns.x | upper }}",
    TWINS + "{{ '%s' % ns.x }}",
    TWINS + "{{ 'a' | center(ns.x) }}",
    TWINS + "{{ x[ns.x] }}",
    TWINS.replace("[ns.x, ns.x]", "(ns.x, ns.x)") + "{{ {ns.x: 1} }}",
    "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "{{ " + "[" * 5_000 + " }}",
    "{{ " + "not " * 5_000 + "1 }}",
    "{{ " + "-" * 5_000 + "1 }}",
    "{{ 1" + "+1" * 5_000 + " }}",
    "{{ x" + ".a" * 5_000 + " }}",
    "{{ x" + "|list" * 5_000 + " }}",
    "{{ [" + "1," * 30_000 + "] }}",
    "{% if x %}" * 300 + "{% endif %}" * 300,
    "{% for a in x %}" * 25 + "{% endfor %}" * 25,
    "{{ 1_" + "1_" * 100_000 + "1 }}",
    "{{ 1 }}" + "x" * 1_000_001,
]

OUT_OF_REACH = [
    "{{ ''.__class__.__mro__ }}",
    "{{ x.__class__ }}",
    "{{ x['__class__'] }}",
    "{{ x.__init__.__globals__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ range.__globals__ }}",
    "{{ namespace.__init__ }}",
    "{{ namespace(a=1).__class__ }}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{% for i in x %}{{ loop.__init__ }}{% endfor %}",
    "{% for i in x %}{{ loop._iterable }}{% endfor %}",
    "{{ 'a'.format }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ 'a'.upper.__self__ }}",
    "{{ x.append(1) }}",
    "{{ rows[0].update({}) }}",
    "{{ rows[0].pop('a') }}",
    "{{ x | attr('__class__') }}",
    "{{ x | map('attr', '__class__') | list }}",
    "{{ x | map(attribute='__class__') | list }}",
    "{{ x | groupby('__class__') }}",
    "{{ x | sort(attribute='__class__') }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ environment }}",
    "{{ context }}",
    "{{ cycler }}",
    "{{ joiner }}",
    "{{ lipsum }}",
    "{{ dict }}",
    "{{ range }}",
    "{{ caller() }}",
    "{{ x | map(':slice') }}",
    "{{ x | map('mro') }}",
    "{% set x.y = 1 %}",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("template", TOO_MUCH, ids=lambda template: template[-60:])
def test_a_template_that_wants_too_much_is_refused(engine, template):
    started = time.thread_time()
    with pytest.raises(ExpressionError):
        engine.evaluate(template, SCOPE)
    assert time.thread_time() - started < 5 * Bounds().max_cpu_s  # processor time: a busy machine changes nothing


@pytest.mark.parametrize("template", OUT_OF_REACH)
def test_python_is_out_of_reach(engine, template):
    with pytest.raises(ExpressionError):
        engine.evaluate(template, SCOPE)


def test_hostile_templates_leave_little_memory_behind(engine):
    process = psutil.Process()
    before = process.memory_info().rss
    for template in TOO_MUCH[:40]:
        with pytest.raises(ExpressionError):
            engine.evaluate(template, SCOPE)
    assert process.memory_info().rss - before < 300_000_000


def test_processor_time_is_bounded_even_where_nothing_is_counted(engine):
    with pytest.raises(ExpressionError, match="processor time"):
        engine.evaluate("{% for i in range(99999) %}{% if 'b' in t or 'c' in t %}{% endif %}{% endfor %}", SCOPE)


def test_ordinary_work_is_within_bounds(engine):
    results = [{"item": {"path": f"src/{n}.py"}, "look": {"data": {"findings": [{"line": n}]}}} for n in range(5_000)]
    scope = {"results": results}
    lines = "{% for f in r.look.data.findings %}{{ r.item.path }}:{{ f.line }}\n{% endfor %}"
    text = engine.render("{% for r in results %}" + lines + "{% endfor %}", scope)
    assert text.count("\n") == 5_000
    assert len(engine.render("{{ results }}!", scope)) > 300_000
    assert engine.evaluate("{{ results | map(attribute='look.data.findings') | map('length') | sum }}", scope) == 5_000
