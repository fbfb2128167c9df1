"""What is not there is said not to be there, whichever verb or tool is asked for it."""

import threading

import pytest

from elexirion_dagster.codebase.confine import confine
from elexirion_dagster.errors import InputError, PolicyError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.steps.tools.catalog import ToolPlace, use

VERBS = {
    "read": "read: {path: PATH}",
    "copy": "copy: {from: PATH, to: there}",
    "move": "move: {from: PATH, to: there}",
    "delete": "delete: {path: PATH}",
    "convert": "convert: {from: PATH.json, to: there.yaml}",
    "list": "list: {root: PATH, git: null}",
}


@pytest.mark.parametrize("path", ["missing.txt", "no/such/folder/missing.txt"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_that_a_missing_file_does_not_exist(one, verb, path):
    error = one(f"steps: [{{name: f, type: files, {VERBS[verb].replace('PATH', path)}}}]").error
    assert (error.cause, "does not exist" in error.message) == ("bad_input", True), error


@pytest.mark.parametrize("tool", ["read", "edit"])
def test_a_tool_says_so_too(tmp_path, tool):
    place = ToolPlace(tmp_path, lambda path: tmp_path / path, (), lambda: 60.0, threading.Event(), Sandbox())
    arguments = {"path": "no/such/file.txt"} | ({"old": "a", "new": "b"} if tool == "edit" else {})
    outcome = use(tool, arguments, place)
    assert "does not exist" in outcome.text


def test_a_missing_root_does_not_exist_and_a_way_out_of_one_that_is_there_leads_out(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        confine(tmp_path / "missing", "a.txt")
    with pytest.raises(PolicyError, match="leads out of"):
        confine(tmp_path, "../a.txt")
