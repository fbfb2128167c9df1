"""A task that can be learned, and a model that learns it by rules: to rehearse optimisations without a real model.

The task: name the kind of a short review comment. The model is right with probability RIGHT where its instructions
hold a hint for the kind, or its examples one of that kind, and GUESSED else. Asked to write an instruction, it adds one
missing hint for a kind that the feedback expected. All of it is the same every time. What it shows is how a search
behaves, never how good a prompt is.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from elexirion_dagster.providers.base import Capabilities, Provider
from elexirion_dagster.records import Reply, Request, TextBlock, Usage
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row

RIGHT, GUESSED = 0.95, 0.35
KINDS = ("bug", "style", "test")
_WORDS = {
    "bug": ("crashes", "returns the wrong sum", "loses the last row", "divides by zero"),
    "style": ("has a vague name", "is too long", "mixes tabs and spaces", "repeats itself"),
    "test": ("is not covered", "asserts nothing", "has no edge case", "depends on the clock"),
}
_PLACES = ("The loader", "This helper", "The parser", "The retry loop", "The new flag", "The report", "The cache")
_HINT = "Call it {kind} when it"
_EXPECTED = re.compile(r"expected\W+(?:kind\W+)?(" + "|".join(KINDS) + r")\b")
_CHARS_PER_TOKEN = 4


def step() -> LlmStep:
    """The step of the task."""
    output = {"kind": {"enum": list(KINDS)}}
    prompt = "Which kind of comment is this?\n{{ inputs.comment }}"
    return LlmStep(name="classify", type="llm", system="Name the kind of the comment.", prompt=prompt, output=output)


def rows(count: int, seed: int) -> tuple[Row, ...]:
    """So many labelled rows, all different, their kinds in turns."""
    return tuple(_row(number, seed) for number in range(count))


def _row(number: int, seed: int) -> Row:
    kind = KINDS[number % len(KINDS)]
    words = _WORDS[kind]
    pick = _share(f"{seed} {number}")
    place, said = _PLACES[int(pick * 1000) % len(_PLACES)], words[int(pick * 100_000) % len(words)]
    comment = f"{place} {said} (comment {seed}-{number})."
    key = hashlib.sha256(comment.encode()).hexdigest()[:16]
    return Row(key, {"inputs.comment": comment}, None, {"kind": kind}, None, None, "label", key)


@dataclass(frozen=True, slots=True)
class Fault:
    """Raised instead of an answer to calls of these numbers, counted from 1."""

    error: Callable[[], Exception]
    calls: range


class ScriptedModel(Provider):
    """Answers the task and writes instructions, by rules. `sent` counts calls, `written` those for instructions."""

    name = "fake"

    def __init__(self, *, seed: int = 0, native_schema: bool = True, fault: Fault | None = None) -> None:
        self.sent = 0
        self.written = 0
        self._seed = seed
        self._native = native_schema
        self._fault = fault
        self._lock = threading.Lock()

    def send(
        self,
        request: Request,
        *,
        timeout_s: float,  # noqa: ARG002 - it answers at once
        cancelled: threading.Event | None = None,  # noqa: ARG002 - as above
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Answer as the rules say."""
        started = time.perf_counter()
        writes = "new_instruction" in (request.system or "")
        with self._lock:
            self.sent += 1
            self.written += writes
            number = self.sent
        if self._fault is not None and number in self._fault.calls:
            raise self._fault.error()
        text = self._instruction(request) if writes else self._answer(request)
        if on_text is not None:
            on_text(text)
        length = len(request.system or "") + sum(len(_said(message.content)) for message in request.messages)
        usage = Usage(length // _CHARS_PER_TOKEN + 1, len(text) // _CHARS_PER_TOKEN + 1)
        latency_s = time.perf_counter() - started
        return Reply((TextBlock(text),), "end_turn", usage, request.model, self.name, latency_s, cost_usd=0.0)

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - all the same
        """Say what it takes."""
        return Capabilities(output_schema=self._native, tools=False, streaming=False)

    def _answer(self, request: Request) -> str:
        comment = _said(request.messages[-1].content)
        kind = next(kind for kind, words in _WORDS.items() if any(word in comment for word in words))
        shown = any(f'"{kind}"' in _said(turn.content) for turn in request.messages if turn.role == "assistant")
        hinted = shown or _HINT.format(kind=kind) in (request.system or "")
        draw = self._draw(comment)
        wrong = KINDS[(KINDS.index(kind) + 1 + int(draw * 1000) % (len(KINDS) - 1)) % len(KINDS)]
        return json.dumps({"kind": kind if draw < (RIGHT if hinted else GUESSED) else wrong})

    def ceiling(self, rows: Sequence[Row]) -> float:
        """The share of rows that are answered right with a hint for every kind: no prompt does better."""
        return fmean(self._draw(row.inputs["inputs.comment"]) < RIGHT for row in rows)

    def _draw(self, comment: str) -> float:
        said = re.search(r"comment \d+-\d+", comment)
        return _share(f"{self._seed} {said and said[0]}")

    def _instruction(self, request: Request) -> str:
        asked = _said(request.messages[-1].content)
        current = asked.partition("[[ ## current_instruction ## ]]\n")[2].partition("\n\n[[ ##")[0]
        expected = _EXPECTED.findall(asked.partition("[[ ## examples_with_feedback ## ]]")[2])
        missing = next((kind for kind in expected if _HINT.format(kind=kind) not in current), None)
        hint = "" if missing is None else f"\n{_HINT.format(kind=missing)} {' or '.join(_WORDS[missing])}."
        if "JSON object" in (request.system or ""):
            return json.dumps({"new_instruction": f"{current}{hint}"})
        return f"[[ ## new_instruction ## ]]\n{current}{hint}\n\n[[ ## completed ## ]]"


def _said(blocks: tuple[object, ...]) -> str:
    return "".join(block.text for block in blocks if isinstance(block, TextBlock))


def _share(text: str) -> float:
    """A number from 0 to 1 that looks drawn, and is the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
