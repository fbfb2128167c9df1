"""A process that reads source files: the paths come on stdin, one JSON line goes out for each.

Source is hostile, and the parsers are C: a file of 64 kB can take gigabytes or crash them. So they run apart, under
the limits of the caller, and a file that takes too much processor time ends only this process.
"""

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tree_sitter import Language

from elexirion_dagster.codebase.confine import open_below
from elexirion_dagster.codebase.query.catalog import RULES
from elexirion_dagster.codebase.query.syntax import bad_line, compiled, matches, parse
from elexirion_dagster.errors import ElexirionError

MOST_BYTES = 1024 * 1024
CPU_S = 10.0
"""Processor time for one file; a megabyte of ordinary code takes a tenth of a second."""


def main() -> None:
    """Answer the one question on stdin: `{root, files: [[path, language]], wanted: symbols | imports}`."""
    asked = json.load(sys.stdin)
    root = Path(asked["root"])
    for path, language in asked["files"]:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        print(json.dumps({"path": path, **_answer(root, path, language, asked["wanted"])}), flush=True)  # noqa: T201


def _answer(root: Path, path: str, language: str, wanted: str) -> Mapping[str, Any]:
    try:
        with open(open_below(root, path), "rb") as file:  # noqa: PTH123 a descriptor, not a path
            data = file.read(MOST_BYTES + 1)
    except ElexirionError as error:
        return {"found": [], "line": None, "reason": error.message}
    if len(data) > MOST_BYTES:
        return {"found": [], "line": None, "reason": f"larger than {MOST_BYTES // 1024} kB"}
    return read(path, language, data, wanted)


def read(path: str, language: str, data: bytes, wanted: str) -> Mapping[str, Any]:
    """The symbols or imports of a file as JSON, and (`line`, `reason`) where it could not be read in full."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    line, reason = _undecodable(data)
    if reason:
        data = data.decode("utf-8", "replace").encode()
    rules = RULES[language]
    grammar = Language(rules.grammar(path))
    root = parse(grammar, data)
    if wanted == "symbols":
        found = [symbol.to_json() for symbol in rules.symbols(matches(compiled(grammar, rules.definitions), root))]
    else:
        found = [written.to_json() for written in rules.written(matches(compiled(grammar, rules.imports), root))]
    broken = bad_line(grammar, root)
    if broken is not None and not reason:
        line, reason = broken, f"not understood on line {broken}; what could be read besides is in the answer"
    return {"found": found, "line": line, "reason": reason}


def _undecodable(data: bytes) -> tuple[int | None, str | None]:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return line, f"not UTF-8 on line {line}; what could be read is in the answer"
    return None, None
