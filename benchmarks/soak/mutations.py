"""Mutated documents: each is accepted or refused with a position, in bounded time and memory, whatever became of it.

`python -m benchmarks.soak.mutations [DOCUMENTS]`: shipped and documented pipelines, made-up ones and documents of
pipeline_ex are mutated line by line and sign by sign; YAML bombs, deep nesting and texts of 10 MB come on top.
"""

import json
import random
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchmarks.machine import machine
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import ElexirionError, PipelineError

ROOT = Path(__file__).parents[2]
MOST_S, MOST_MB = 20, 2_000
SNIPPETS = (
    *(
        "{{",
        "}}",
        "{% for x in y %}",
        "{{ steps.a.text }}",
        "{{ 'a' * 10 ** 9 }}",
        "&a [*a]",
        "*a",
        "!!python/object",
        "\t",
    ),
    *(
        "- ",
        ": ",
        "? ",
        "|",
        ">-",
        "'",
        '"',
        "#",
        "\x00",
        "\ud7ff",
        "\u2028",
        "🙂",
        "[",
        "{",
        "]",
        "}",
        "null",
        "~",
        "1e999",
    ),
    *(
        "steps:",
        "type: while",
        "type: pipeline",
        "pipeline: made",
        "max_depth: 99",
        "on_error: x",
        "when: false",
        "name: a",
    ),
    *("workflow:", "type: claude_batch", "condition: a.b > 1 and", "previous_response:x.y", "type: for_loop"),
)
THEIRS = """
workflow:
  name: theirs
  defaults: {claude_preset: development, output_dir: out}
  steps:
    - {name: plan, type: gemini, prompt: [{type: static, content: "Plan {{goal}}"}], output_to_file: plan.json}
    - name: loop
      type: for_loop
      iterator: item
      data_source: "previous_response:plan:items"
      steps: [{name: do, type: claude, prompt: [{type: previous_response, step: plan, extract: a.b}]}]
    - {name: all, type: claude_batch, files: "{{ all_source_files }}", batch_size: 10, max_parallel: 50}
    - name: t
      type: data_transform
      input_source: "previous_response:plan"
      operations: [{operation: filter, field: x, condition: "score > 5"}]
"""


def documents() -> list[str]:
    """What is mutated."""
    sys.path.insert(0, str(ROOT / "tests"))
    from random_pipelines import Maker  # noqa: PLC0415 - the tests' own maker

    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "pipelines_yaml/README.md")]
    shown = [text for page in pages for text in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)]
    shipped = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "pipelines_yaml").glob("*.yaml"))]
    made = [json.dumps(Maker(seed).pipeline(f"made_{seed}"), indent=1) for seed in range(20)]
    return [*shipped, *shown, *made, THEIRS]


def monsters() -> Iterator[tuple[str, str]]:
    """Documents that are large or deep on purpose, by a word for each."""
    bomb = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else '1'}]" for n in range(12))
    yield "yaml bomb", bomb
    yield "10 MB text", f"name: a\ndescription: {'x' * 10_000_000}\nsteps: [{{name: s, type: set, vars: {{x: 1}}}}]\n"
    yield "10 MB prompt", f"name: a\nsteps: [{{name: s, type: llm, prompt: '{'{{ inputs.x }} ' * 700_000}'}}]\n"
    yield "deep list", f"name: a\nsteps: {'[' * 100_000}{']' * 100_000}\n"
    yield "deep map", "".join(f"{' ' * depth}a:\n" for depth in range(5_000))
    yield (
        "many steps",
        "name: a\nsteps:\n" + "".join(f"- {{name: s{n}, type: set, vars: {{x: 1}}}}\n" for n in range(5_000)),
    )
    yield "many keys", "name: a\n" + "".join(f"key_{n}: 1\n" for n in range(100_000))
    yield (
        "deep expression",
        f"name: a\nsteps: [{{name: s, type: set, vars: {{x: '{{{{ {'(' * 5_000}1{')' * 5_000} }}}}'}}}}]\n",
    )
    loops = "{name: l%d, type: for_each, items: [1], as: i%d, steps: ["
    yield "deep loops", "name: a\nsteps: [" + "".join(loops % (n, n) for n in range(60)) + "]}" * 60 + "]\n"


def mutated(text: str, source: random.Random) -> str:
    """The text after some small accidents."""
    for _ in range(source.randint(1, 2)):
        lines = text.splitlines(keepends=True) or [""]
        at = source.randrange(len(lines))
        match source.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines.insert(source.randrange(len(lines) + 1), lines[at])
            case 2:
                lines[at] = source.choice((" ", "  ", "    ")) + lines[at]
            case 3:
                lines[at] = lines[at].lstrip()
            case 4:
                place = source.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + source.choice(SNIPPETS) + lines[at][place:]
            case 5:
                words = re.findall(r"\w+", text) or ["x"]
                lines[at] = re.sub(r"\w+", source.choice(words), lines[at], count=1)
            case _:
                place = source.randrange(len(text) + 1)
                return text[:place] + text[place + source.randint(1, 40) :]
        text = "".join(lines)
    return text


def judged(text: str) -> str:
    """`accepted`, or `refused` with a position; anything else is a fault and says what."""
    signal.alarm(MOST_S)
    try:
        load_string(text)
    except PipelineError as error:
        placed = all(problem.line is not None for problem in error.problems)
        return "refused" if error.problems and placed else f"refused without a position: {str(error)[:200]}"
    except ElexirionError as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    except Exception as error:  # noqa: BLE001 - what this looks for
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return "accepted"


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {MOST_S} s")


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else 10_000
    print(machine())
    signal.signal(signal.SIGALRM, _too_late)
    source, texts = random.Random(0), documents()  # noqa: S311 - the same documents every time
    outcomes: Counter[str] = Counter()
    faults: list[tuple[str, str]] = []
    slowest = 0.0
    for number in range(count):
        text = mutated(source.choice(texts), source)
        began = time.monotonic()
        outcome = judged(text)
        slowest = max(slowest, time.monotonic() - began)
        outcomes[outcome if outcome in ("accepted", "refused") else "fault"] += 1
        if outcome not in ("accepted", "refused"):
            faults.append((f"document {number}: {outcome}", text))
    print(f"{count} mutated documents: {dict(outcomes)}, the slowest took {slowest:.2f} s")
    for name, text in monsters():
        began = time.monotonic()
        outcome = judged(text)
        print(f"  {name:16} {len(text) / 1e6:6.2f} MB  {outcome:9.60}  {time.monotonic() - began:.2f} s")
        if outcome not in ("accepted", "refused"):
            faults.append((f"{name}: {outcome}", text[:2_000]))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mb:.0f} MB")
    for what, text in faults[:5]:
        print(f"\n{what}\n{text}")
    return 1 if faults or peak_mb > MOST_MB else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
