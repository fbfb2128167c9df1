"""Whether only what was proven passes, and what stands in its way is named."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import BETTER, a_row, a_task, a_try, check_of, judged, some_rows, tries

from elexirion_dagster.errors import InputError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.store.registry.attempts import Attempt
from optimizer_assets.proving.spending import FIRST
from optimizer_assets.task import Candidate

HOLDOUT, FEW = some_rows(100), some_rows(30)
WORSE, MIXED = [0.0] * 100, [float(at % 5 != 0) for at in range(100)]
TASK = a_task()
NAMES = (
    *("renders", "parses", "lengths", "must_pass", "quality"),
    *("cost", "latency", "leaks", "secrets", "reloaded"),
)


def halves(right, of):
    """The first so many right."""
    return [float(at < right) for at in range(of)]


def failed(verdict):
    return [check.name for check in verdict.checks if not check.passed]


def test_a_clear_rise_is_promoted_with_its_figures():
    verdict = judged(TASK, BETTER, tries(HOLDOUT, halves(60, 100)), tries(HOLDOUT, halves(80, 100)))
    assert verdict.outcome == "promote"
    assert tuple(check.name for check in verdict.checks) == NAMES
    assert verdict.n == 100
    assert verdict.p_value == 2**-20
    assert 0.1 < verdict.interval[0] < 0.2 < verdict.interval[1] < 0.3
    figures = check_of(verdict, "quality").figures
    assert (figures["base"], figures["new"], figures["try"], figures["independent"]) == (0.6, 0.8, 1, 100)
    assert figures["interval_level"] == 1 - 2 * verdict.alpha


def test_the_same_verdict_comes_twice():
    base, new = tries(HOLDOUT, halves(60, 100)), tries(HOLDOUT, MIXED)
    assert judged(TASK, BETTER, base, new) == judged(TASK, BETTER, base, new)


def test_a_rise_that_chance_explains_is_kept_out():
    verdict = judged(TASK, BETTER, tries(HOLDOUT, halves(60, 100)), tries(HOLDOUT, halves(64, 100)))
    assert (verdict.outcome, failed(verdict)) == ("keep", ["quality"])
    assert "no rise is proven: +0.040" in check_of(verdict, "quality").why


def test_what_passes_at_the_first_try_may_fail_at_the_second():
    base, new = tries(HOLDOUT, halves(60, 100)), tries(HOLDOUT, halves(66, 100))
    first = judged(TASK, BETTER, base, new)
    earlier = [Attempt("", "base", first.holdout, 100, 0.4, first.alpha, passed=False)]
    assert (first.outcome, judged(TASK, BETTER, base, new, earlier=earlier).outcome) == ("promote", "keep")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=60, max_size=60), st.sets(st.integers(0, 59), max_size=20))
def test_better_answers_never_lose_a_promotion(scores, better):
    rows = HOLDOUT[:60]
    base = tries(rows, [0.5] * 60)
    risen = [1.0 if at in better else score for at, score in enumerate(scores)]
    if judged(TASK, BETTER, base, tries(rows, scores)).outcome == "promote":
        assert judged(TASK, BETTER, base, tries(rows, risen)).outcome == "promote"


def test_few_rows_make_a_canary_and_state_k_and_its_alpha():
    verdict = judged(TASK, BETTER, tries(FEW, halves(15, 30)), tries(FEW, halves(25, 30)))
    assert verdict.outcome == "canary"
    figures = check_of(verdict, "quality").figures
    assert (figures["net_wins"], figures["k"]) == (10, 8)
    assert figures["k_alpha"] == verdict.alpha == FIRST * 0.95


@pytest.mark.parametrize(
    ("right", "why"), [(19, "too few changed to tell"), (21, "expected at least k = 7"), (15, "too few")]
)
def test_few_rows_with_few_net_wins_change_nothing(right, why):
    new = halves(right, 30)
    if right == 21:
        new[0] = 0.0
    verdict = judged(TASK, BETTER, tries(FEW, halves(15, 30)), tries(FEW, new))
    assert (verdict.outcome, failed(verdict)) == ("keep", ["quality"])
    assert why in check_of(verdict, "quality").why


def test_rows_of_one_file_do_not_make_a_claim():
    rows = [replace(row, group=f"{at // 5}.py") for at, row in enumerate(HOLDOUT)]
    verdict = judged(TASK, BETTER, tries(rows, halves(40, 100)), tries(rows, halves(80, 100)))
    assert verdict.outcome == "canary"
    assert check_of(verdict, "quality").figures["independent"] == 20


def cheaper(rows, scores, **fields):
    return tries(rows, scores, **{"cost_usd": 0.0005, "tokens": 50, "latency_s": 0.5, **fields})


def test_quality_that_holds_while_cost_falls_is_promoted():
    rows = some_rows(200)
    verdict = judged(TASK, BETTER, tries(rows, halves(150, 200)), cheaper(rows, halves(150, 200)))
    assert verdict.outcome == "promote"
    assert check_of(verdict, "quality").why.startswith("cost fell while the score held")


@pytest.mark.parametrize(
    ("scores", "fields", "objectives"),
    [
        (halves(135, 200), {}, ("quality", "cost")),
        (halves(150, 200), {"cost_usd": 0.00095}, ("quality", "cost")),
        (halves(150, 200), {}, ("quality",)),
        (halves(150, 200), {"tokens": 100}, ("quality", "latency")),
        (halves(150, 200), {"latency_s": None}, ("quality", "latency")),
    ],
    ids=["score fell", "cost fell little", "cost does not count", "only the hour was quieter", "time unknown"],
)
def test_cheaper_is_no_reason_when(scores, fields, objectives):
    rows = some_rows(200)
    task = a_task(objectives=objectives)
    assert judged(task, BETTER, tries(rows, halves(150, 200)), cheaper(rows, scores, **fields)).outcome == "keep"


def test_without_prices_tokens_stand_for_cost():
    rows = some_rows(200)
    base, new = tries(rows, halves(150, 200), cost_usd=None), cheaper(rows, halves(150, 200), cost_usd=None)
    assert judged(TASK, BETTER, base, new).outcome == "promote"


BASE_TRIES, NEW_TRIES = tries(HOLDOUT, halves(60, 100)), tries(HOLDOUT, halves(90, 100))


def stopped(*, task=TASK, candidate=BETTER, base=BASE_TRIES, new=NEW_TRIES, **other):
    """The one check that keeps an otherwise proven candidate out, and why."""
    verdict = judged(task, candidate, base, new, **other)
    assert verdict.outcome == "keep"
    assert len(failed(verdict)) == 1, failed(verdict)
    return failed(verdict)[0], check_of(verdict, failed(verdict)[0]).why


def test_a_lost_must_pass_row_keeps_everything_as_it_is():
    rows = [replace(HOLDOUT[0], must_pass=True), *HOLDOUT[1:]]
    name, why = stopped(base=tries(rows, halves(60, 100)), new=tries(rows, [0.0, *halves(98, 99)]))
    assert name == "must_pass"
    assert HOLDOUT[0].key[:12] in why


def test_more_unusable_answers_are_no_progress():
    new = [*NEW_TRIES[:-1], a_try(HOLDOUT[-1], 0.0, answer=None, error="the reply is not the data")]
    assert stopped(new=new) == (
        "parses",
        "1 unusable answer of 100, 0 with the base, such as: the reply is not the data",
    )


@pytest.mark.parametrize(
    ("limits", "fields", "name", "why"),
    [
        ({"usd_per_call": 0.002}, {"cost_usd": 0.003}, "cost", "usd_per_call 0.003, limit 0.002"),
        ({"usd_per_call": 0.002}, {"cost_usd": None}, "cost", "usd_per_call not known, limit 0.002"),
        ({"p95_s": 2.0}, {"latency_s": 2.5}, "latency", "p95_s 2.5, limit 2"),
    ],
)
def test_limits_are_ceilings(limits, fields, name, why):
    assert stopped(task=a_task(limits=limits), new=tries(HOLDOUT, halves(90, 100), **fields)) == (name, why)


def test_p95_is_that_of_the_answers():
    new = [replace(one, latency_s=9.0 if at < 5 else 1.0) for at, one in enumerate(NEW_TRIES)]
    assert judged(a_task(limits={"p95_s": 2.0}), BETTER, BASE_TRIES, new).outcome == "promote"


def test_another_answer_after_reloading_is_told():
    again = [replace(NEW_TRIES[0], answer="docs"), *NEW_TRIES[1:]]
    assert stopped(again=again)[0] == stopped(again=NEW_TRIES[1:])[0] == "reloaded"


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (Candidate("Sort {{ inputs.text }} into kinds."), "sent as written, and holds {{ inputs.text }}"),
        (Candidate("Sort.", (("Change: {{ inputs.text }}", "fix"),)), "example 1 still holds {{ inputs.text }}"),
        (Candidate("Sort.", (("  ", "fix"),)), "the user turn of example 1 is empty"),
        (Candidate("Sort.", (("Change: x", {"kind": "fix"}),)), "answer of example 1 is not what the step answers"),
    ],
)
def test_a_text_that_still_waits_for_something_does_not_render(candidate, why):
    name, said = stopped(candidate=candidate)
    assert name == "renders"
    assert why in said


def test_an_example_must_fit_the_output():
    task = a_task({"output": {"kind": {"enum": ["fix", "docs"]}}})
    name, said = stopped(task=task, candidate=Candidate("Sort.", (("Change: x", {"kind": "fox"}),)))
    assert name == "renders"
    assert "fox" in said


def test_a_row_without_a_variable_does_not_render():
    rows = [replace(HOLDOUT[0], inputs={"inputs.other": "x"}), *HOLDOUT[1:]]
    name, said = stopped(base=tries(rows, halves(60, 100)), new=tries(rows, halves(90, 100)))
    assert name == "renders"
    assert "text" in said


def test_instructions_may_hold_braces_that_people_wrote():
    task = a_task(base=Candidate("Explain {{ x }}."))
    assert judged(task, Candidate("Explain {{ x }} well."), BASE_TRIES, NEW_TRIES).outcome == "promote"


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate("x" * 10_001),
        Candidate("Sort.", (("Change: x", "fix"),) * 17),
        Candidate("S.", (("x" * 60_000, "fix"),)),
    ],
)
def test_a_slot_has_a_length(candidate):
    assert stopped(candidate=candidate)[0] == "lengths"


def test_a_base_that_is_longer_is_its_own_limit():
    task = a_task(base=Candidate("x" * 20_000))
    assert judged(task, Candidate("y" * 20_000), BASE_TRIES, NEW_TRIES).outcome == "promote"


TRAIN = [
    a_row("the parser of dates forgets the leap second when the year is divided by four hundred"),
    a_row("bump the linter"),
]


@pytest.mark.parametrize(
    "system",
    [
        "When the PARSER of dates forgets\nthe leap second, when the year is odd, it is a fix.",
        f"Such as: {TRAIN[0].inputs['inputs.text']}",
    ],
)
def test_instructions_that_copy_a_training_row_are_told(system):
    name, why = stopped(candidate=Candidate(system), train=TRAIN)
    assert name == "leaks"
    assert "from training row key-the pars" in why


def test_a_short_row_copied_whole_is_a_copy_too():
    row = a_row("fix typo in readme")
    assert stopped(candidate=Candidate("Words such as “Fix typo in README” mean docs."), train=[row])[0] == "leaks"


def test_rows_as_examples_and_general_words_are_no_leak():
    row = TRAIN[0]
    candidate = Candidate("A parser that forgets is a fix.", ((f"Change: {row.inputs['inputs.text']}", "fix"),))
    assert judged(TASK, candidate, BASE_TRIES, NEW_TRIES, train=TRAIN).outcome == "promote"


def test_what_people_wrote_themselves_is_no_copy():
    text = TRAIN[0].inputs["inputs.text"]
    task = a_task(instructions=[f"Mind this: {text}"])
    assert judged(task, Candidate(f"Mind this: {text}"), BASE_TRIES, NEW_TRIES, train=TRAIN).outcome == "promote"


def test_a_holdout_row_as_an_example_is_a_leak():
    candidate = Candidate("Sort.", ((f"Change:  {HOLDOUT[3].inputs['inputs.text'].upper()}", "fix"),))
    name, why = stopped(candidate=candidate)
    assert (name, why) == ("leaks", f"an example is holdout row {HOLDOUT[3].key[:12]}")


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate("Use password = 'hunter2hunter2'."),
        Candidate("Sort.", (("Change: sk-ant-abcdefghijklmnop", "fix"),)),
        Candidate("Sort.", (("Change: x", "our own word"),)),
    ],
)
def test_a_secret_stays_out_and_unnamed(candidate):
    name, why = stopped(candidate=candidate, redactor=Redactor(patterns=["own w[a-z]+"]))
    assert name == "secrets"
    assert "hunter2" not in why


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_a_score_that_is_none_ends_with_the_row(score):
    with pytest.raises(InputError, match="a score from 0 to 1 for row key-") as caught:
        judged(TASK, BETTER, BASE_TRIES, [a_try(HOLDOUT[0], score), *NEW_TRIES[1:]])
    assert caught.value.mend
