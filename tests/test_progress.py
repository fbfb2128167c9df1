import json


def test_the_last_line_of_progress_stands_once(start):
    rehearsed = start(
        "steps: [{name: each, type: for_each, items: [1, 2, 3], steps: [{name: s, type: set, vars: {x: 1}}]}]"
    )
    rehearsed.all()
    said = [json.dumps([line["path"], line["done"], line["total"]]) for line in rehearsed.lines("progress")]
    assert said[-1] == '["each", 3, 3]'
    assert len(said) == len(set(said))
