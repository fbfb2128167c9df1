"""Operations over a list."""

import json

import pytest
from applied import PEOPLE


@pytest.fixture
def apply(one):
    def apply(*ops, records=PEOPLE):
        text = (
            "inputs: {records: {type: list}}\n"
            "steps: [{name: t, type: transform, from: '{{ inputs.records }}', ops: %s}]"
        )
        return one(text % json.dumps(ops), records=records)

    return apply
