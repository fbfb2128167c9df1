from dataclasses import replace

import pytest
from scripted_task import AT_ONCE, ROWS, VALIDATION, asking, task_of

from benchmarks import scripted
from elexirion_dagster.errors import ElexirionError, InputError, PolicyError
from elexirion_dagster.prompting.render import request_hash
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.records import Request
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.learned.learning import Logged
from optimizer_assets.asking.breaker import MOST_FAILURES
from optimizer_assets.scoring.metrics import Scored
from optimizer_assets.task import Candidate


def test_the_same_question_is_paid_once_whoever_asks_it(home_path):
    model = scripted.ScriptedModel()
    task = task_of()
    with asking(home_path, task, model) as asker:
        first = asker.try_all(task.base, [*VALIDATION, *VALIDATION])
        assert asker.try_all(task.base, VALIDATION) == first[:30] == first[30:]
        assert (model.sent, asker.calls, asker.replayed) == (30, 30, 0)
    assert [one.row for one in first[:30]] == list(VALIDATION)


def test_an_optimisation_of_the_same_definition_goes_on_where_it_ended(home_path):
    task = task_of()
    with asking(home_path, task, scripted.ScriptedModel()) as asker:
        before = asker.try_all(task.base, ROWS[:20])
    again = scripted.ScriptedModel()
    with asking(home_path, task, again) as asker:
        assert asker.try_all(task.base, ROWS[:25])[:20] == before
        assert (again.sent, asker.calls, asker.replayed) == (5, 25, 20)
    other = scripted.ScriptedModel()
    with asking(home_path, task_of(min_rows=31), other) as asker:
        asker.try_all(task.base, ROWS[:20])
    assert other.sent == 20


@pytest.mark.parametrize("change", [{"base": Candidate("Other.")}, {"step": "other"}, {"base_hash": "b2"}])
def test_whatever_defines_an_optimisation_is_in_its_name(home_path, change):
    task = task_of()
    names = set()
    for one, rows, seed in [
        (task, ROWS, 0),
        (task, ROWS[1:], 0),
        (task, ROWS, 1),
        (task, (replace(ROWS[0], expected={"kind": "test"}), *ROWS[1:]), 0),
        (replace(task, **change), ROWS, 0),
    ]:
        with asking(home_path, one, scripted.ScriptedModel(), rows, seed=seed) as asker:
            names.add(asker.channel.root_run)
    assert len(names) == 5


def test_logged_outcomes_cost_nothing_and_carry_what_they_cost_then(home_path):
    task = task_of()
    model = scripted.ScriptedModel()
    with asking(home_path, task, model) as asker:
        key = request_hash(asker.request(task.base, ROWS[0]))
    logged = {key: Logged('{"kind": "bug"}', 10, 5, 0.25, 1.5, "fake/scripted")}
    with asking(home_path, task, model, logged=logged) as asker:
        found = asker.ask(task.base, ROWS[0])
        assert (model.sent, asker.calls, asker.replayed, asker.usd) == (0, 0, 1, 0.0)
    assert (found.score, found.cost_usd, found.latency_s, found.tokens) == (1.0, 0.25, 1.5, 15)
    of_another = {key: replace(logged[key], model="local/scripted")}
    with asking(home_path, task, model, logged=of_another) as asker:
        asker.ask(task.base, ROWS[0])
    assert model.sent == 1


def test_a_dead_model_is_given_up_after_eight_attempts_of_all_threads_with_its_own_words(home_path):
    dead = FakeProvider([Rule(error=ProviderError("it is down", cause="connection", mend="Start it."))])
    task = task_of()
    with asking(home_path, task, dead) as asker:
        with pytest.raises(ElexirionError, match=r"fake/scripted was given up \(connection\): it is down") as info:
            asker.try_all(task.base, ROWS)
        assert (info.value.cause, info.value.mend) == ("connection", "Start it.")
        with pytest.raises(ElexirionError, match="given up"):
            asker.ask(task.base, ROWS[0])
    assert len(dead.requests) <= MOST_FAILURES


def test_a_key_that_is_refused_is_not_tried_eight_times(home_path):
    refused = FakeProvider([Rule(error=ProviderError("no such key", cause="auth"))])
    task = task_of()
    with asking(home_path, task, refused) as asker, pytest.raises(ElexirionError, match="no such key"):
        asker.ask(task.base, ROWS[0])
    assert len(refused.requests) == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "reset"}, {"kind": "html"}, {"kind": "malformed"}]
)
def test_a_server_that_only_fails_is_given_up_within_eight_requests(home_path, fault):
    task = task_of(model="local/m")
    with RehearsalServer(Script.model_validate({"faults": [{**fault, "every": 1}]})) as server:
        settings = {"local_base_url": server.base_url + "/v1"}
        with asking(home_path, task, None, settings=settings) as asker, pytest.raises(ElexirionError):
            asker.try_all(task.base, ROWS)
        assert 1 <= server.count <= MOST_FAILURES


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"answers": [{"text": "no JSON at all"}]}, "expected one JSON value"),
        ({"answers": [{"text": "x"}], "faults": [{"kind": "truncation", "every": 1}]}, "cut at max_tokens"),
    ],
)
def test_an_answer_that_cannot_be_used_is_worth_nothing_and_is_not_asked_for_again(home_path, script, said):
    task = task_of(model="local/m")
    with RehearsalServer(Script.model_validate(script)) as server:
        with asking(home_path, task, None, settings={"local_base_url": server.base_url + "/v1"}) as asker:
            found = asker.try_all(task.base, ROWS[:12])
        assert server.count == 12
    assert {one.score for one in found} == {0.0}
    assert all(one.answer is None and said in one.error and one.tokens for one in found)


def test_answers_lost_to_failures_here_and_there_end_the_optimisation_rather_than_its_honesty(home_path):
    def rule(number):
        return Rule(match=f"comment 0-{number})", error=ProviderError("lost", cause="unknown"))

    model = FakeProvider([*map(rule, range(0, 60, 6)), Rule(text='{"kind": "bug"}')])
    task = task_of()
    with asking(home_path, task, model) as asker, pytest.raises(ElexirionError, match="were lost to failures"):
        asker.try_all(task.base, ROWS)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (lambda *_: Scored(float("nan"), ""), "nan"),
        (lambda *_: Scored(1.5, ""), "1.5"),
        (lambda *_: None, "None"),
        (lambda *_: Scored(None, ""), "None"),
        (lambda *_: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_metric_that_gives_no_number_from_0_to_1_stops_everything(home_path, metric, said):
    task = task_of(metric=metric)
    with asking(home_path, task, scripted.ScriptedModel()) as asker, pytest.raises(InputError, match=said):
        asker.try_all(task.base, ROWS)


def test_no_more_calls_are_made_than_the_budget_has(home_path):
    model = scripted.ScriptedModel()
    task = task_of(budget={"calls": 7})
    with asking(home_path, task, model) as asker:
        assert (asker.room(7), asker.room(8)) == (True, False)
        with pytest.raises(PolicyError, match="may make 7 model calls"):
            asker.try_all(task.base, ROWS)
    assert model.sent == 7


def test_dollars_that_are_not_there_are_not_spent(home_path):
    class Priced(scripted.ScriptedModel):
        name = "anthropic"

    model = Priced()
    task = task_of(model="anthropic/claude-sonnet-4-5", budget={"usd": 0.000001})
    with (
        asking(home_path, task, model) as asker,
        pytest.raises(PolicyError, match="the optimisation of rehearsed/classify may spend"),
    ):
        asker.ask(task.base, ROWS[0])
    assert model.sent == 0


def test_secrets_go_neither_to_the_model_nor_into_the_journal(home_path):
    secret = "sk-ant-" + "a1" * 20
    row = replace(ROWS[0], inputs={"inputs.comment": f"{secret} crashes (comment 0-0)."})
    task = task_of()
    with asking(home_path, task, scripted.ScriptedModel(), (row,)) as asker:
        asker.ask(task.base, row)
        root = asker.channel.root_run
    assert secret not in repr(list(lines(open_home(home_path), root)))


def test_the_channel_has_the_teacher_and_the_judge_too_each_asked_once(home_path):
    model = FakeProvider([Rule(text="fine")])
    task = task_of()

    def build(ref, _capabilities):
        return Request(ref.model, ())

    with asking(home_path, task, model) as asker:
        said = [asker.channel.ask("judge", (ModelRef("fake", "m"),), build).text for _ in range(3)]
        assert (said, asker.calls) == (["fine"] * 3, 1)


@pytest.mark.parametrize("extra", [{"tools": ["read"]}, {"session": "talk"}])
def test_what_cannot_be_asked_again_is_refused(home_path, extra):
    step = LlmStep(name="ask", type="llm", prompt="x", **extra)
    with pytest.raises(InputError, match="cannot be optimised"), asking(home_path, task_of(step), None):
        pass


def test_without_a_model_it_says_so(home_path):
    task = replace(task_of(), models=())
    with pytest.raises(ElexirionError, match="no model is configured"), asking(home_path, task, None):
        pass


def test_the_retries_of_the_step_hold(home_path):
    model = FakeProvider([Rule(error=ProviderError("busy", cause="overloaded"), times=2), Rule(text='{"kind": "bug"}')])
    task = task_of()
    assert task.spec.retry == AT_ONCE
    with asking(home_path, task, model) as asker:
        assert asker.ask(task.base, ROWS[0]).answer == {"kind": "bug"}
        assert asker.calls == len(model.requests) == 3
