import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.dialects.lookup import find, find_all, shipped
from elexirion_dagster.errors import InputError, PipelineError
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.operations.pipelines import check, choose, listing, read_inputs
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.tags import MODEL_TAG

PIPELINE = load_string("""
name: typed
inputs:
  text: {type: string, default: ""}
  folder: {type: path, default: "."}
  count: {type: integer, default: 1}
  share: {type: number, default: 0.5}
  deep: {type: boolean, default: false}
  words: {type: list, default: []}
  table: {type: object, default: {}}
steps:
  - {name: a, type: set, vars: {x: 1}}
""").pipeline


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text=a=b", {"text": "a=b"}),
        ("text=", {"text": ""}),
        ("text=12", {"text": "12"}),
        ("folder=~/x", {"folder": "~/x"}),
        ("count=3", {"count": 3}),
        ("COUNT=3", {"count": 3}),
        ("share=2", {"share": 2}),
        ("deep=true", {"deep": True}),
        ("words=[a, 1]", {"words": ["a", 1]}),
        ("table={a: 1}", {"table": {"a": 1}}),
    ],
)
def test_words_are_read_by_the_declared_type(word, expected):
    assert read_inputs(PIPELINE, (word,)) == expected


@pytest.mark.parametrize(
    "word", ["count=x", "count=1.5", "count=", "deep=1", "words=a", "table=[1]", "words=[", "other=1", "text"]
)
def test_a_word_that_does_not_fit_is_named(word):
    with pytest.raises(InputError, match=word.partition("=")[0]):
        read_inputs(PIPELINE, (word,))


def test_of_two_words_for_one_input_the_last_counts():
    assert read_inputs(PIPELINE, ("count=1", "count=2")) == {"count": 2}


@pytest.fixture
def in_a_folder_with_pipelines(tmp_path, monkeypatch):
    """A settings object, and `./pipelines_yaml` holding a pipeline that runs another by its name."""
    folder = tmp_path / "pipelines_yaml"
    folder.mkdir()
    (folder / "inner.yaml").write_text("name: inner\nsteps: [{name: s, type: set, vars: {x: 1}}]\n")
    (folder / "outer.yaml").write_text(
        "name: outer\nsteps:\n"
        "- {name: idle, type: llm, prompt: x}\n"
        "- {name: sub, type: pipeline, pipeline: inner, outputs: {x: '{{ vars.x }}'}}\n"
        "outputs: {x: '{{ steps.sub.data.x }}'}\n"
    )
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


def test_a_check_finds_pipelines_by_name_and_warns_of_smells(in_a_folder_with_pipelines):
    ((file, loaded),) = check(["outer"], in_a_folder_with_pipelines)
    assert file.name == "outer.yaml"
    assert [(problem.line, problem.message) for problem in loaded.warnings] == [
        (3, "nothing uses what the step 'idle' comes to, and it does nothing else")
    ]


AUDIT = "name: security_review\nsteps: [{name: s, type: set, vars: {x: 1}}]\noutputs: {x: '{{ vars.x }}'}\n"


def test_a_foreign_folder_does_not_replace_a_shipped_pipeline(in_a_folder_with_pipelines, tmp_path):
    settings, own = in_a_folder_with_pipelines, tmp_path / "pipelines_yaml" / "security_review.yaml"
    own.write_text(AUDIT)
    (own.parent / "outer.yaml").write_text(
        "name: outer\nsteps: [{name: sub, type: pipeline, pipeline: security_review}]\n"
    )
    with pytest.raises(InputError) as refused:
        choose("security_review", (), settings)
    for text in (str(own), str(shipped() / own.name), "Rename it", f"ELEXIRION_PIPELINES={own.parent}"):
        assert text in str(refused.value)
    ((_, broken),) = check(["outer"], settings)
    assert str(own) in broken.problems[0].message
    (row,) = [row for row in listing(settings) if row.name == "security_review"]
    assert (row.file, row.pipeline, str(own) in row.error) == (own, None, True)
    assert sum(isinstance(found, PipelineError) for _, found in check([], settings)) == 2
    assert choose(str(own), (), settings).file == own


def test_a_named_folder_replaces_a_shipped_pipeline_and_the_run_says_which_it_was(in_a_folder_with_pipelines, tmp_path):
    own = tmp_path / "pipelines_yaml" / "security_review.yaml"
    own.write_text(AUDIT)
    settings = in_a_folder_with_pipelines.model_copy(update={"pipelines": own.parent})
    chosen = choose("security_review", (), settings)
    assert chosen.file == own
    run_id = "0a0a0a0a-0000-4000-8000-00000000000b"
    finished = execute(chosen.file, {}, run_id=run_id, tags={MODEL_TAG: "none"}, settings=settings)
    assert (finished.outputs, finished.file) == ({"x": 1}, own)
    (started,) = [line for line in lines(Home(settings.home), run_id) if line["kind"] == "run_started"]
    assert started["file"] == started["tags"]["elexirion/file"] == str(own)


def test_the_folder_of_the_shipped_pipelines_is_no_foreign_one(monkeypatch, tmp_path):
    monkeypatch.chdir(shipped().parent)
    assert find_all(Settings(home=tmp_path)).refused == {}
    assert find("nightly_scan", Settings(home=tmp_path)) == shipped() / "nightly_scan.yaml"


def test_a_pipeline_that_runs_another_by_name_is_one_dagster_run(in_a_folder_with_pipelines):
    chosen = choose("outer", (), in_a_folder_with_pipelines)
    run_id = "0a0a0a0a-0000-4000-8000-00000000000a"
    finished = execute(chosen.file, {}, run_id=run_id, tags={MODEL_TAG: "none"}, settings=in_a_folder_with_pipelines)
    assert (finished.status, finished.outputs) == ("succeeded", {"x": 1})


def test_a_fallback_that_names_a_pipeline_that_is_gone_is_a_warning(tmp_path, environ):
    file = tmp_path / "main.yaml"
    rules = "fallback:\n- {on: [refused], run: gone}\n"
    file.write_text("name: main\nsteps:\n- {name: a, type: llm, prompt: go}\n" + rules, encoding="utf-8")
    ((_, loaded),) = check([str(file)], Settings.from_env(environ))
    assert [(problem.line, "'gone'" in problem.message) for problem in loaded.warnings] == [(5, True)]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            "name: other\ninputs: {need: {type: string}}\nsteps: [{name: a, type: set, vars: {x: 1}}]\n",
            "needs the input need",
        ),
        ("name: other\nsteps: [", "cannot be used"),
    ],
)
def test_a_fallback_that_could_not_be_run_is_a_warning(tmp_path, environ, other, why):
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    file = tmp_path / "main.yaml"
    text = "name: main\nsteps: [{name: a, type: set, vars: {x: 1}}]\nfallback: [{on: [timeout], run: other}]\n"
    file.write_text(text, encoding="utf-8")
    settings = Settings.from_env({**environ, "ELEXIRION_PIPELINES": str(tmp_path)})
    ((_, loaded),) = check([str(file)], settings)
    (warning,) = loaded.warnings
    assert why in warning.message
    assert "would be parked" in warning.message
