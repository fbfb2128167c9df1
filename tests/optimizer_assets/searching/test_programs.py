import json
import random
import subprocess
import sys

import pytest
from scripted_task import asking, task_of

from elexirion_dagster.prompting.render import request_hash
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.fake import FakeProvider
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.scoring.metrics import Scored
from optimizer_assets.searching.programs import StepProgram, tried, with_text
from optimizer_assets.task import Candidate

PIECES = [
    *"aZ09 .,:;'\"\\/<>&%$#@!|`~^*+-=()[]{}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{ inputs.goal }}",
    "\n",
    "\n\n",
]
PIECES += [
    "\t",
    "\r\n",
    "  ",
    "é",
    "ß",
    "漢字",
    "😀",
    "\u2028",
    "\u00a0",
    "\u200d",
    "e\u0301",
    "</file>",
    "```",
    "null",
    "\\n",
]
PROMPTS = [
    "{{ row.text }}",
    "Goal: {{ inputs.goal }}\n<row>{{ row }}</row>\n",
    "{{ row.list }} and {{ row.map.inner }}{% for one in row.list %}\n- {{ one }}{% endfor %}",
    "{% if row.flag %}yes {{ row.number }}{% else %}no{% endif %} {{ row.text | upper }} {{ row['text'] | length }}",
    "{% raw %}{{ not a template }}{% endraw %} {{ row.map }} {{ loop.index }}",
]
OUTPUTS = [None, {"kind": {"enum": ["a", "b"]}, "why": "string?"}, {"found": [{"line": "integer", "said": "string"}]}]
CASES, ITEMS = 24, 45

RUNTIME = """
import json, sys
sys.modules["dspy"] = sys.modules["gepa"] = None  # importing either raises
from pathlib import Path
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.pins import own_slot
from elexirion_dagster.providers.fake import FakeProvider
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.steps import STEP_MODELS
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import lines
from elexirion_dagster.store.registry.promotions import promote
from elexirion_dagster.store.registry.prompts import save

path = Path(sys.argv[1])
home = open_home(path)
for number, case in enumerate(json.load(sys.stdin)):
    pipeline = load_string(json.dumps({
        "name": f"case_{number}", "inputs": {"goal": {"type": "string"}, "rows": {"type": "list"}},
        "steps": [{"name": "each", "type": "for_each", "items": "{{ inputs.rows }}", "as": "row", "max_parallel": 1,
                   "on_error": "collect", "steps": [{"name": "ask", "type": "llm", **case["step"]}]}],
    })).pipeline
    base = own_slot(pipeline.steps[0].steps[0]).version.removeprefix("yaml:")
    kept = save(home, pipeline.name, "each.ask", base_hash=base, parent=None, model=None, scores={}, **case["version"])
    promote(home, pipeline.name, "each.ask", kept.hash, why="test", by="test")
    fake = FakeProvider()
    settings = Settings(home=path, model="fake/scripted")
    info = RunInfo(f"run-{number}", f"run-{number}", {"goal": case["goal"], "rows": case["rows"]}, {}, "test")
    run = Run(pipeline, info, settings, opened={"fake": fake})
    run.step(pipeline.steps[0], {})
    run.close()
    said = [line for line in lines(home, f"run-{number}") if line["kind"] == "reply"]
    first = {}
    for line in said:  # a repeated question of the same path is the correction of an answer
        first.setdefault(line["path"], line)
    sent = {}
    for request in fake.requests:
        messages = [[one.role, "".join(block.text for block in one.content)] for one in request.messages]
        sent[json.dumps(messages)] = [request.system, messages]
    print(json.dumps({
        "rows": [[line["request_hash"], line["inputs"], line["prompt_version"]] for line in first.values()],
        "sent": list(sent.values()), "version": kept.hash,
    }))
"""


def text(chance: random.Random, most: int = 30) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(0, most)))


def value(chance: random.Random, depth: int = 0):
    plain = [text(chance), chance.randint(-(10**12), 10**12), None, chance.random() < 0.5, chance.uniform(-1e6, 1e6)]
    kind = chance.randint(0, 8 if depth < 3 else 4)
    if kind < 5:
        return plain[kind]
    inner = [value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return inner if kind < 7 else {text(chance, 4) or "k": one for one in inner}


def row_value(chance: random.Random) -> dict:
    inner = {"inner": value(chance), **({"key": text(chance, 5)} if chance.random() < 0.3 else {})}
    lists = [value(chance) for _ in range(chance.randint(0, 5))]
    fields = {"list": lists, "map": inner, "flag": chance.random() < 0.5, "number": chance.random()}
    return {"text": text(chance, 60), **fields}


def case(number: int) -> dict:
    chance = random.Random(number)  # noqa: S311 - the same every time is what is wanted
    system = chance.choice([None, text(chance, 80) or None, "  indented\n\ttext {{ kept }} \n\n"])
    output = OUTPUTS[number % len(OUTPUTS)]
    answer = (
        {None: text(chance, 9)}.get(output)
        if output is None
        else {"kind": "a", "why": text(chance), "n": value(chance)}
    )
    examples = [{"prompt": text(chance) or "x", "answer": answer} for _ in range(chance.randint(0, 3))]
    step = {"prompt": PROMPTS[number % len(PROMPTS)], **({} if output is None else {"output": output})}
    version = {"system": system, "examples": examples}
    return {"step": step, "version": version, "goal": text(chance), "rows": [row_value(chance) for _ in range(ITEMS)]}


def worthless(*_) -> Scored:
    return Scored(0.0, "")


class Plain(FakeProvider):
    """A model that is told the schema in words."""

    def __init__(self, *, native: bool) -> None:
        super().__init__()
        self._native = native

    def capabilities(self, model):  # noqa: ARG002 - all the same
        return Capabilities(output_schema=self._native, tools=False, streaming=False)


def sent_by(provider: FakeProvider) -> list:
    request = provider.requests[-1]
    return [request.system, [[turn.role, "".join(block.text for block in turn.content)] for turn in request.messages]]


@pytest.mark.slow
def test_dspy_sends_to_the_letter_what_a_run_without_dspy_sends_for_the_exported_version(tmp_path, environ, home_path):
    cases = [case(number) for number in range(CASES)]
    command = [sys.executable, "-c", RUNTIME, str(tmp_path / "runtime")]
    done = subprocess.run(command, env=environ, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compared = 0
    for one, line in zip(cases, done.stdout.splitlines(), strict=True):
        ran = json.loads(line)
        step = LlmStep(name="ask", type="llm", **one["step"])
        version = one["version"]
        slot = Candidate(version["system"], tuple((each["prompt"], each["answer"]) for each in version["examples"]))
        model = FakeProvider()
        with asking(home_path, task_of(step, metric=worthless), model, rows=()) as asker:
            program = StepProgram(asker, slot)
            assert program.candidate() == slot
            for digest, inputs, in_use in ran["rows"]:
                assert in_use == ran["version"]
                row = Row(digest, inputs, None, None, None, None, "run", "g")
                tried(program, row)
                assert sent_by(model) in ran["sent"]
                assert request_hash(asker.request(slot, row)) == digest
                compared += 1
    assert compared >= 1000


@pytest.mark.parametrize("native", [True, False])
def test_a_model_that_is_told_the_schema_in_words_gets_the_same_through_dspy(home_path, native):
    step = LlmStep(
        name="ask", type="llm", prompt="{{ inputs.a }}", output={"kind": "string"}, system="Say.\n  Indented."
    )
    row = Row("k", {"inputs.a": "x"}, None, None, None, None, "run", "g")
    model = Plain(native=native)
    with asking(home_path, task_of(step, metric=worthless), model, rows=()) as asker:
        program = with_text(StepProgram(asker, Candidate(None)), step.system)
        tried(program, row)
        assert model.requests[-1] == asker.request(Candidate(step.system), row)
    assert ("JSON Schema" in model.requests[-1].system) is not native
