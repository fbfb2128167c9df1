import pytest
from scripted_task import ROWS

from optimizer_assets.reflection import better
from optimizer_assets.task import Tried


def one(score, cost, latency):
    return Tried(ROWS[0], score, "", None, cost, latency, 100, None)


@pytest.mark.parametrize(
    ("objectives", "after", "accepted"),
    [
        ({"quality", "cost"}, one(0.6, 9.0, 9.0), True),
        ({"quality", "cost"}, one(0.4, 0.1, 0.1), False),
        ({"quality", "cost"}, one(0.5, 0.5, 9.0), True),
        ({"quality", "cost"}, one(0.5, 0.99, 0.1), False),
        ({"quality", "latency"}, one(0.5, 9.0, 0.5), True),
        ({"quality", "latency"}, one(0.5, 0.1, 0.95), False),
        ({"quality"}, one(0.5, 0.1, 0.1), False),
    ],
)
def test_accepted_is_what_is_better_or_as_good_and_cheaper_or_faster(objectives, after, accepted):
    assert better(frozenset(objectives), [one(0.5, 1.0, 1.0)], [after]) is accepted
