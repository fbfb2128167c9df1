import json
from dataclasses import replace

from scripted_task import ROWS, TRAIN, VALIDATION, asking, task_of

from benchmarks import scripted
from optimizer_assets.scoring.metrics import Scored
from optimizer_assets.searching.examples import drawn
from optimizer_assets.searching.optimizers import optimise


def search(home_path, task, model, *, train=TRAIN, validation=VALIDATION):
    with asking(home_path, task, model) as asker:
        return optimise(task, asker, train, validation, lambda _: None)


def test_examples_are_only_answers_that_are_right(home_path):
    rows = tuple(replace(row, expected=None, score=None) for row in TRAIN)
    gold = {row.key: row.expected for row in TRAIN}

    def metric(row, answer):
        return Scored(float(answer == gold.get(row.key, row.expected)), "")

    found = search(home_path, task_of(optimizer="bootstrap", metric=metric), scripted.ScriptedModel(), train=rows)
    shown = {pair[0]: pair[1] for one in found.candidates for pair in one.candidate.examples}
    right = {row.inputs["inputs.comment"]: gold[row.key] for row in rows}
    assert shown
    assert all(answer == right[user.split("\n")[1]] for user, answer in shown.items())


def test_a_set_of_examples_has_every_kind_of_answer_and_is_the_same_every_time():
    pool = [(str(number), {"kind": "rare" if number == 7 else "common"}) for number in range(40)]
    sets = [drawn(pool, number, 0) for number in range(9)]
    assert all({"kind": "rare"} in [answer for _, answer in one] for one in sets)
    assert sets == [drawn(pool, number, 0) for number in range(9)]
    assert [len(one) for one in sets[:3]] == [4, 8, 16]
    assert len({json.dumps(one) for one in sets}) == 9


def test_labels_that_are_no_whole_answers_are_not_shown(home_path):
    rows = tuple(replace(row, expected=row.expected["kind"]) for row in ROWS)

    def metric(row, answer):
        return Scored(float(answer == {"kind": row.expected}), "")

    task = task_of(optimizer="bootstrap", metric=metric)
    found = search(home_path, task, scripted.ScriptedModel(), train=rows[:30], validation=rows[30:])
    assert all(set(pair[1]) == {"kind"} for one in found.candidates for pair in one.candidate.examples)
