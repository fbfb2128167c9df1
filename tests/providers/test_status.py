from email.utils import formatdate

import pytest

from elexirion_dagster.providers.status import cause_of, retry_after_s


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, 0.0),
    ],
)
def test_hints_are_read_in_all_their_forms(headers, expected):
    assert retry_after_s(headers) == expected


def test_a_date_far_ahead_is_a_long_wait():
    assert retry_after_s({"retry-after": formatdate(4e9, usegmt=True)}) > 1e8


def test_statuses_nobody_knows_are_sorted_by_their_hundred():
    assert (cause_of(599), cause_of(418), cause_of(302)) == ("connection", "unknown", "unknown")
