import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_task import ROWS, TRAIN, VALIDATION, asking, task_of

from benchmarks import scripted
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.spec.learning import OptimizeBudget
from optimizer_assets.asking.breaker import MOST_FAILURES
from optimizer_assets.scoring.metrics import Scored
from optimizer_assets.searching.optimizers import optimise, rounds_of_reflection


def search(home_path, task, model, *, listen=lambda _: None, train=TRAIN, validation=VALIDATION, **options):
    with asking(home_path, task, model, **options) as asker:
        return optimise(task, asker, train, validation, listen)


def best_of(found):
    return max(one.quality for one in found.candidates)


@pytest.mark.parametrize("optimizer", ["auto", "gepa", "bootstrap"])
def test_each_way_finds_what_the_task_allows_and_tells_of_every_round(home_path, optimizer):
    model, heard = scripted.ScriptedModel(), []
    found = search(home_path, task_of(optimizer=optimizer), model, listen=heard.append)
    assert best_of(found) == pytest.approx(model.ceiling(VALIDATION))
    assert (found.candidates[0].how, found.candidates[0].quality) == ("base", pytest.approx(8 / 30))
    assert tuple(heard) == found.iterations
    numbers = [one.number for one in heard]
    assert numbers == list(range(len(numbers)))
    assert numbers[-1] <= 9
    assert [one.best for one in heard] == sorted(one.best for one in heard)
    assert heard[-1].calls <= found.calls == model.sent


def test_begun_again_it_pays_nothing_and_finds_the_same_to_the_letter(home_path):
    task = task_of()
    first = search(home_path, task, scripted.ScriptedModel())
    again = scripted.ScriptedModel()
    assert search(home_path, task, again) == first
    assert again.sent == 0


def test_killed_in_the_middle_it_goes_on_and_pays_for_the_rest_only(home_path):
    task, whole = task_of(), scripted.ScriptedModel()
    expected = search(home_path / "whole", task, whole)

    class Killed(BaseException):
        pass

    dying = scripted.ScriptedModel(fault=scripted.Fault(Killed, range(120, 10_000)))
    with pytest.raises(Killed):
        search(home_path / "killed", task, dying)
    rest = scripted.ScriptedModel()
    found = search(home_path / "killed", task, rest)
    assert [one.candidate for one in found.candidates] == [one.candidate for one in expected.candidates]
    assert rest.sent == whole.sent - 119


def test_given_texts_are_measured_and_joined_with_examples(home_path):
    text = "Name the kind.\nCall it bug when it crashes."
    task = replace(task_of(instructions=[text]), teachers=())
    found = search(home_path, task, scripted.ScriptedModel())
    assert [one.how for one in found.candidates[:3]] == ["base", "instructions", "combined"]
    assert found.candidates[2].candidate.system == text
    assert len(found.candidates[2].candidate.examples) >= 4


def test_a_teacher_that_dies_ends_it_within_eight_calls_and_is_no_success(home_path):
    class Teacher(scripted.ScriptedModel):
        def _instruction(self, _request):
            raise ProviderError("the teacher is down", cause="connection")

    model = Teacher()
    with pytest.raises(ElexirionError, match=r"was given up \(connection\): the teacher is down"):
        search(home_path, task_of(optimizer="gepa"), model)
    assert 1 <= model.written <= MOST_FAILURES


@pytest.mark.parametrize("said", ["I will not.", "[[ ## new_instruction ## ]]\n\n\n[[ ## completed ## ]]", "{}"])
def test_a_teacher_that_writes_nothing_usable_is_told_and_costs_no_second_question(home_path, said):
    class Teacher(scripted.ScriptedModel):
        def _instruction(self, _request):
            return said

    model = Teacher()
    with pytest.raises(ElexirionError, match="no instruction could be written") as info:
        search(home_path / "gepa", task_of(optimizer="gepa"), model)
    assert "bootstrap" in info.value.mend
    found = search(home_path / "auto", task_of(), Teacher())
    assert "could not be used" in found.notes[0]
    assert best_of(found) > 0.8


def test_a_text_that_is_too_long_is_shortened_once_and_never_taken_as_it_is(home_path):
    class Teacher(scripted.ScriptedModel):
        def _instruction(self, request):
            return super()._instruction(request).replace("\n\n[[ ## completed", "x" * 5_000 + "\n\n[[ ## completed")

    found = search(home_path, task_of(), Teacher())
    assert all(len(one.candidate.system or "") <= 4_000 for one in found.candidates)
    assert "could not be used" in found.notes[0]


def test_a_spent_budget_ends_the_search_with_what_it_has_and_leaves_what_is_kept(home_path):
    model = scripted.ScriptedModel()
    found = search(home_path, task_of(budget={"calls": 130}), model, kept=40)
    assert 30 < model.sent <= 90
    assert found.candidates[0].how == "base"


def test_a_budget_too_small_for_the_slot_as_it_is_is_an_error(home_path):
    with pytest.raises(ElexirionError, match="may make 1 model calls"):
        search(home_path, task_of(budget={"calls": 1}), scripted.ScriptedModel())


@pytest.mark.parametrize(("model", "amount"), [("fake/scripted", "calls"), ("anthropic/claude-sonnet-4-5", "usd")])
def test_a_budget_of_nothing_sends_nothing(home_path, model, amount):
    budget = OptimizeBudget.model_construct(**{"usd": 1.0, "calls": 100, "iterations": 9, amount: 0})
    task = task_of(model=model)
    task = replace(task, settings=task.settings.model_copy(update={"budget": budget}))
    scripted_model = scripted.ScriptedModel()
    scripted_model.name = model.partition("/")[0]
    with pytest.raises(ElexirionError, match="optimisation") as info:
        search(home_path, task, scripted_model)
    assert (info.value.cause, scripted_model.sent) == ("budget_exceeded", 0)


def test_a_dead_model_and_a_metric_that_raises_are_no_success(home_path):
    dead = FakeProvider([Rule(error=ProviderError("it is down", cause="connection"))])
    with pytest.raises(ElexirionError, match="it is down"):
        search(home_path, task_of(), dead)
    dies = scripted.ScriptedModel(fault=scripted.Fault(lambda: ProviderError("gone", cause="timeout"), range(50, 9999)))
    with pytest.raises(ElexirionError, match="gone"):
        search(home_path / "later", task_of(), dies)
    assert dies.sent < 50 + MOST_FAILURES
    calls = []

    def metric(row, answer):
        calls.append(row)
        return Scored(float(answer == row.expected), "") if len(calls) < 40 else None

    with pytest.raises(InputError, match="the metric should give a number"):
        search(home_path / "metric", task_of(metric=metric), scripted.ScriptedModel())


def test_a_listener_that_fails_is_heard(home_path):
    def listen(iteration):
        if iteration.how == "gepa":
            raise OSError("the pipe is broken")

    with pytest.raises(OSError, match="the pipe is broken"):
        search(home_path, task_of(), scripted.ScriptedModel(), listen=listen)


@pytest.mark.parametrize(
    ("train", "validation", "said"), [((), ROWS, "training"), (ROWS, (), "validation"), (ROWS, ROWS[:3], "both")]
)
def test_sets_that_are_empty_or_shared_are_refused(home_path, train, validation, said):
    model = scripted.ScriptedModel()
    with pytest.raises(InputError, match=said):
        search(home_path, task_of(), model, train=train, validation=validation)
    assert model.sent == 0


def test_rounds_go_to_reflection_by_rows_and_by_whether_anybody_can_write():
    auto = task_of()
    assert [rounds_of_reflection(auto, rows) for rows in (10, 100)] == [4, 6]
    assert rounds_of_reflection(replace(auto, teachers=()), 100) == 0
    assert rounds_of_reflection(task_of(optimizer="gepa"), 10) == 9
    assert rounds_of_reflection(task_of(optimizer="bootstrap"), 100) == 0
    with pytest.raises(ElexirionError, match="needs a model that can write instructions"):
        rounds_of_reflection(replace(task_of(optimizer="gepa"), teachers=()), 100)


IMPORTS = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
import optimizer_assets.definitions, optimizer_assets.searching.optimizers
early = {"dspy", "gepa", "litellm"} & sys.modules.keys()
from scripted_task import TRAIN, VALIDATION, ROWS, asking, task_of
from elexirion_dagster.spec.learning import OptimizeBudget
from benchmarks import scripted
task = task_of()
with asking(Path(sys.argv[2]), task, scripted.ScriptedModel()) as asker:
    optimizer_assets.searching.optimizers.optimise(task, asker, TRAIN, VALIDATION, lambda _: None)
print(sorted(early), sorted({"dspy", "gepa", "litellm", "openai"} & sys.modules.keys()))
"""


def test_dspy_comes_when_it_is_needed_and_litellm_never(tmp_path, environ, home_path):
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", IMPORTS, tests, str(home_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "[] ['dspy', 'gepa']\n", done.stderr
    assert done.stderr == ""
