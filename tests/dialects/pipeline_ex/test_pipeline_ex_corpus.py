"""Every pipeline file of pipeline_ex that is here loads, prints as the same graph, and completes on the fake model."""

import os
from pathlib import Path

import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.operations.imports import import_file
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.edges import edges
from elexirion_dagster.yamlio import load_file

REPOSITORY = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("ELEXIRION_CORPUS") or REPOSITORY.parent / "shared" / "corpus") / "pipeline_ex"
FILES = sorted(CORPUS.rglob("*.yaml"))
ABSENT = "the corpus of pipeline_ex is neither in ELEXIRION_CORPUS nor beside the repository"


def refusal(file):
    """Why a file cannot be loaded, or None."""
    try:
        load_any(file, test_steps=True)
    except PipelineError as error:
        return str(error)
    return None


def parameters(files):
    ids = [str(file.relative_to(CORPUS)) for file in files]
    return [pytest.param(file, id=name) for file, name in zip(files, ids, strict=True)] or [
        pytest.param(None, marks=pytest.mark.skip(reason=ABSENT))
    ]


LOADABLE = [file for file in FILES if refusal(file) is None]


@pytest.mark.skipif(not FILES, reason=ABSENT)
def test_only_specifications_and_unknown_types_are_refused():
    reasons = {file: refusal(file) for file in FILES if file not in LOADABLE}
    assert all("specification" in reason or "unknown step type" in reason for reason in reasons.values()), reasons
    assert len(FILES) - len(reasons) >= len(FILES) - 3


@pytest.mark.parametrize("file", parameters(FILES))
def test_the_steps_of_fixtures_are_refused_unless_allowed(file):
    if "test_echo" not in file.read_text():
        assert file not in LOADABLE or load_any(file).pipeline
        return
    with pytest.raises(PipelineError, match="test_echo is a step of test fixtures"):
        load_any(file)


@pytest.mark.parametrize("file", parameters(LOADABLE))
def test_the_printed_file_has_the_same_graph(file, home_path):
    old = load_any(file, test_steps=True).pipeline
    printed = load_string(import_file(str(file), Settings(home=home_path), test_steps=True).text).pipeline
    assert edges(printed.steps, Engine()) == edges(old.steps, Engine())
    assert printed == old


@pytest.mark.parametrize("file", parameters(LOADABLE))
def test_it_completes_on_the_fake_model(file, start, tmp_path, monkeypatch):
    work = tmp_path / "project" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    stub_files(file, work)
    text = import_file(str(file), Settings(home=tmp_path), test_steps=True).text
    rehearsed = start(text, tags={"elexirion/model": "fake"}, **variables(file, work))
    results = rehearsed.all()
    assert {name: result.error for name, result in results.items() if result.status == "failed"} == {}
    assert results.keys() == {step.name for step in rehearsed.run.pipeline.steps}
    rehearsed.run.outputs(results)


def variables(file, work):
    """What the command line gives: every required input."""
    declared = load_any(file, test_steps=True).pipeline.inputs
    required = {name: one.type for name, one in declared.items() if one.required}
    (work / "given.txt").write_text("given")
    return {name: str(work / "given.txt") if kind == "path" else "given" for name, kind in required.items()}


def stub_files(file, work):
    """Write every file that the document's prompts name by a fixed path."""

    def paths(value):
        if isinstance(value, dict):
            if value.get("type") == "file" and isinstance(value.get("path"), str):
                yield value["path"]
            for inner in value.values():
                yield from paths(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from paths(inner)

    for path in paths(load_file(file).data):
        if "{{" not in path:
            place = work / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("a stub with {{ braces }}")
