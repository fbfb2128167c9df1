def test_variables_keep_their_type(one):
    result = one("steps: [{name: s, type: set, vars: {a: '{{ 1 + 1 }}', b: ['{{ true }}', x], c: {d: '{{ none }}'}}}]")
    assert result.data == {"a": 2, "b": [True, "x"], "c": {"d": None}}
    assert result.vars == result.data


def test_values_are_those_from_before_the_step(start):
    text = """
steps:
  - {name: first, type: set, vars: {a: 1, b: 2}}
  - {name: swap, type: set, vars: {a: "{{ vars.b }}", b: "{{ vars.a }}"}}
"""
    assert start(text).all()["swap"].data == {"a": 2, "b": 1}


def test_a_variable_with_a_secret_s_name_is_used_but_not_kept(start):
    text = """
env: [DB_PASSWORD]
steps:
  - {name: s, type: set, vars: {x: "{{ env.DB_PASSWORD }}"}}
  - {name: c, type: command, run: [sh, -c, 'test "$GIVEN" = hunter22'], env: {GIVEN: "{{ env.DB_PASSWORD }}"}}
"""
    rehearsed = start(text, settings={"environ": {"DB_PASSWORD": "hunter22"}})
    results = rehearsed.all()
    assert results["s"].data == {"x": "[redacted:secret]"}
    assert results["c"].status == "succeeded"
    assert "hunter22'" not in str(results["s"])


def test_an_unset_variable_is_a_failure_not_a_blank(one):
    assert (
        one("env: [NOTHING]\nsteps: [{name: s, type: set, vars: {x: '{{ env.NOTHING }}'}}]").error.cause == "bad_input"
    )


def test_a_secret_from_the_environment_is_not_kept(start):
    text = "env: [SERVICE]\nsteps: [{name: s, type: set, vars: {x: 'use {{ env.SERVICE }}'}}]"
    secret = "ghp_" + "x1" * 20
    rehearsed = start(text, settings={"environ": {"SERVICE": secret}})
    assert rehearsed.all()["s"].data == {"x": "use [redacted:github_token]"}
    assert secret not in str(rehearsed.lines())
