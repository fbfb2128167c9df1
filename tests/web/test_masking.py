"""Against Dagster's own GraphQL schema, and at the end its own web server and database."""

import json
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster_graphql.schema import create_schema
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLInputObjectType, parse, validate
from starlette.testclient import TestClient

from elexirion_dagster.errors import InputError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.web.guard import Guard
from elexirion_dagster.web.masking import masked_request

TOKEN = "shpat_" + "0123456789abcdef" * 2
MASK = "[redacted:shopify_token]"
SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "jobs", "jobName": "given"}
LAUNCH = """mutation Launch($executionParams: ExecutionParams!) {
  launchRun(executionParams: $executionParams) { __typename ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } }
}"""
CONFIG = {"ops": {"look": {"config": {"inputs": {"x": TOKEN, "password": "hunter2", "n": 1}}}}}
SEEN = {"ops": {"look": {"config": {"inputs": {"x": MASK, "password": "[redacted:password]", "n": 1}}}}}
YAML = f"""
ops:
  look:
    config:
      inputs:
        x: &key "shpat_{"0123456789abcdef" * 2}"
        y: *key
        z: >-
          {TOKEN}
        "\\x70assword": hunter2
"""


@pytest.fixture(scope="module")
def schema():
    return create_schema().graphql_schema


@pytest.fixture
def mask(schema):
    """Mask a request; what comes out is one that Dagster takes wherever what went in was."""

    def go(query, variables=None, **more):
        body = {"query": query, "variables": variables, **more}
        before = json.dumps(body)
        shown, places = masked_request(body, Redactor(secrets=["sesame-open"]))
        assert json.dumps(body) == before
        assert not validate(schema, parse(query))
        assert not validate(schema, parse(shown["query"])), shown["query"]
        assert not [text for text in (TOKEN, "hunter2", "sesame-open") if text in json.dumps([shown, places])]
        again, more_places = masked_request(shown, Redactor(secrets=["sesame-open"]))
        assert (again, more_places) == (shown, [])
        return shown, places

    return go


def test_the_run_config_in_the_variables_of_a_launch_is_masked(mask):
    shown, places = mask(LAUNCH, {"executionParams": {"selector": SELECTOR, "runConfigData": CONFIG}})
    assert shown["variables"] == {"executionParams": {"selector": SELECTOR, "runConfigData": SEEN}}
    at = "variables.executionParams.runConfigData.ops.look.config.inputs"
    assert places == [f"{at}.x", f"{at}.password"]


@pytest.mark.parametrize("text", [json.dumps(CONFIG), YAML])
def test_a_run_config_that_is_yaml_or_json_is_read_as_dagster_reads_it(mask, text):
    shown, _ = mask(LAUNCH, {"executionParams": {"selector": SELECTOR, "runConfigData": text}})
    read = json.loads(shown["variables"]["executionParams"]["runConfigData"])["ops"]["look"]["config"]["inputs"]
    assert (read["x"], read["password"]) == (MASK, "[redacted:password]")


def test_what_is_no_yaml_is_masked_as_a_text(mask):
    broken = f"ops: [{TOKEN}"
    shown, _ = mask(LAUNCH, {"executionParams": {"selector": SELECTOR, "runConfigData": broken}})
    assert shown["variables"]["executionParams"]["runConfigData"] == f"ops: [{MASK}"


def test_variables_that_come_as_a_string_are_masked_too():
    given = json.dumps({"executionParams": {"selector": SELECTOR, "runConfigData": CONFIG}})
    shown, places = masked_request({"query": LAUNCH, "variables": given}, Redactor())
    assert len(places) == 2
    assert shown["variables"]["executionParams"]["runConfigData"] == SEEN


TAGS = [{"key": "note", "value": f"use {TOKEN}"}, {"key": "api_key", "value": "hunter2"}, {"key": "team", "value": "a"}]
MASKED_TAGS = [
    {"key": "note", "value": f"use {MASK}"},
    {"key": "api_key", "value": "[redacted:api_key]"},
    {"key": "team", "value": "a"},
]


def test_tags_are_masked_by_their_shape_and_by_their_name(mask):
    params = {"selector": SELECTOR, "executionMetadata": {"tags": TAGS, "parentRunId": "x"}}
    shown, places = mask(LAUNCH, {"executionParams": params})
    metadata = shown["variables"]["executionParams"]["executionMetadata"]
    assert metadata == {"tags": MASKED_TAGS, "parentRunId": "x"}
    assert len(places) == 2


PARAMS = {"selector": SELECTOR, "runConfigData": CONFIG, "executionMetadata": {"tags": TAGS}}
BACKFILL = {"allPartitions": True, "tags": TAGS, "runConfigData": CONFIG, "title": TOKEN, "description": TOKEN}


def mutation(field, argument, type_):
    return f"mutation($p: {type_}) {{{field}({argument}: $p) {{__typename}}}}"


ONE, MANY, AGAIN = "ExecutionParams", "[ExecutionParams!]!", "ReexecutionParams"
APART = """mutation($s: JobOrPipelineSelector!, $c: RunConfigData, $t: [ExecutionTag!]) {
  launchRun(executionParams: {selector: $s, runConfigData: $c, executionMetadata: {tags: $t}}) {__typename}
}"""
IN_TAGS = """mutation($s: JobOrPipelineSelector!, $v: String!, $k: String!) {
  launchRun(executionParams: {
    selector: $s, executionMetadata: {tags: [{key: "note", value: $v}, {key: $k, value: "hunter2"}]}
  }) {__typename}
}"""
IN_A_TEXT = """mutation($d: String) {
  launchPartitionBackfill(backfillParams: {description: $d}) {__typename}
}"""


@pytest.mark.parametrize(
    ("query", "variables", "count"),
    [
        (mutation("launchRun", "executionParams", f"{ONE}!"), {"p": PARAMS}, 4),
        (mutation("launchPipelineExecution", "executionParams", f"{ONE}!"), {"p": PARAMS}, 4),
        (mutation("launchMultipleRuns", "executionParamsList", MANY), {"p": [PARAMS, PARAMS]}, 8),
        (mutation("launchMultipleRuns", "executionParamsList", MANY), {"p": PARAMS}, 4),
        (mutation("launchRunReexecution", "executionParams", ONE), {"p": PARAMS}, 4),
        (mutation("launchPipelineReexecution", "executionParams", ONE), {"p": PARAMS}, 4),
        (
            mutation("launchRunReexecution", "reexecutionParams", AGAIN),
            {"p": {"parentRunId": "x", "strategy": "ALL_STEPS", "extraTags": TAGS}},
            2,
        ),
        (mutation("launchPartitionBackfill", "backfillParams", "LaunchBackfillParams!"), {"p": BACKFILL}, 6),
        (APART, {"s": SELECTOR, "c": CONFIG, "t": TAGS}, 4),
        (IN_TAGS, {"s": SELECTOR, "v": TOKEN, "k": "password"}, 2),
        (IN_A_TEXT, {"d": TOKEN}, 1),
    ],
)
def test_every_mutation_that_stores_a_config_tags_or_a_text_is_masked(mask, query, variables, count):
    shown, places = mask(query, variables)
    assert len(places) == count
    assert MASK in json.dumps(shown)


LITERAL = f"""
mutation Other {{ reloadWorkspace {{ __typename }} }}
mutation Launch($c: RunConfigData = {{x: "{TOKEN}"}}) {{
  ...It
  again: launchRun(executionParams: {{
    selector: {{repositoryName: "r", repositoryLocationName: "l"}}, runConfigData: $c
  }}) {{ __typename }}
}}
fragment It on Mutation {{
  launchRun(executionParams: {{
    selector: {{repositoryName: "r", repositoryLocationName: "l"}}
    runConfigData: {{ops: {{look: {{config: {{
      inputs: {{x: ["{TOKEN}"], password: "hunter2", n: 1, b: true, u: null}}
    }}}}}}}}
    executionMetadata: {{tags: [{{value: "{TOKEN}", key: "a"}}, {{key: "token", value: "sesame-open"}}]}}
  }}) {{ __typename }}
  launchPartitionBackfill(backfillParams: {{
    title: "{TOKEN}", runConfigData: \"\"\"
    ops:
      look: {{config: {{inputs: {{x: {TOKEN}}}}}}}
    \"\"\"
  }}) {{ __typename }}
}}
"""


def test_literals_in_the_document_are_masked_also_in_fragments_and_defaults(mask):
    shown, places = mask(LITERAL, operationName="Launch")
    assert shown["operationName"] == "Launch"
    assert len(places) == 7
    assert shown["query"].count(MASK) == 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": 1},
        {"query": "{"},
        {"query": LAUNCH, "variables": "{"},
        {"query": LAUNCH, "variables": [TOKEN]},
        {"query": LAUNCH, "variables": {"executionParams": TOKEN}},
        {"query": LAUNCH, "variables": {"executionParams": {"selector": SELECTOR, "runConfigData": {"x": "y"}}}},
        {"query": LAUNCH, "variables": {"executionParams": {"selector": SELECTOR, "runConfigData": None}}},
        {"query": LAUNCH.replace("ExecutionParams!", "NoSuchType!"), "variables": {"executionParams": {}}},
        {"query": "query($f: RunsFilter) {runsOrError(filter: $f) {__typename}}", "variables": {"f": {"tags": TAGS}}},
    ],
)
def test_what_asks_for_nothing_to_be_stored_stays_as_it_is(body):
    assert masked_request(body, Redactor()) == (body, [])


def test_a_path_of_something_that_exists_stays(tmp_path):
    place = tmp_path / TOKEN
    place.mkdir()
    params = {"selector": SELECTOR, "runConfigData": {"repo": str(place), "private_key": str(tmp_path)}}
    body = {"query": LAUNCH, "variables": {"executionParams": params}}
    assert masked_request(body, Redactor()) == (body, [])


LINES = [
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]" for before, after in zip("abcdefg", "bcdefgh", strict=True)
]
BOMB = "\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]", *LINES])


@pytest.mark.parametrize("config", [BOMB, "[" * 5000 + "]" * 5000])
def test_a_config_that_cannot_be_looked_through_is_refused(config):
    params = {"selector": SELECTOR, "runConfigData": config}
    with pytest.raises(InputError):
        masked_request({"query": LAUNCH, "variables": {"executionParams": params}}, Redactor())


@pytest.mark.parametrize("query", ["mutation " + "{a " * 20_000 + "}" * 20_000, "mutation {"])
def test_a_document_that_cannot_be_parsed_is_refused(query):
    with pytest.raises(InputError, match=r"parsed|nested too deeply"):
        masked_request({"query": query}, Redactor())


def test_no_input_type_of_dagster_has_a_config_or_tags_that_are_not_known(schema):
    """Fields of these names have these types; another one after an update of Dagster must be looked at."""
    known = {"runConfigData": "RunConfigData", "tags": "[ExecutionTag!]", "extraTags": "[ExecutionTag!]"}
    fields = {
        (type_.name, name): str(field.type)
        for type_ in schema.type_map.values()
        if isinstance(type_, GraphQLInputObjectType)
        for name, field in type_.fields.items()
    }
    assert {key: kind for key, kind in fields.items() if key[1] in known} == {
        key: known[key[1]] for key in fields if key[1] in known
    }
    assert {kind for kind in fields.values() if "Scalar" in kind or "Config" in kind} == {"RunConfigData"}


@pytest.mark.slow
def test_what_is_launched_through_the_guard_is_stored_with_the_mask(tmp_path):
    """The row of the run, as Dagster's own web server writes it."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    file = str(Path(__file__).with_name("stored_jobs.py"))
    with ExitStack() as open_ones:
        instance = open_ones.enter_context(dg.DagsterInstance.from_config(str(tmp_path)))
        target = PythonFileTarget(file, None, working_directory=None, location_name="jobs")
        process = open_ones.enter_context(WorkspaceProcessContext(instance, target))
        guarded = Guard(DagsterWebserver(process).create_asgi_app(), redactor=Redactor())
        client = TestClient(guarded, base_url="http://127.0.0.1")
        params = {"selector": SELECTOR, "runConfigData": YAML, "executionMetadata": {"tags": TAGS}}
        body = {"query": LAUNCH, "variables": {"executionParams": params}}
        answer = client.post("/graphql", json=body).json()["data"]["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run = instance.get_run_by_id(answer["run"]["runId"])
        instance.run_launcher.terminate(run.run_id)
    inputs = run.run_config["ops"]["look"]["config"]["inputs"]
    assert inputs == {"x": MASK, "y": MASK, "z": MASK, "password": "[redacted:password]"}
    assert (run.tags["note"], run.tags["api_key"]) == (f"use {MASK}", "[redacted:api_key]")
