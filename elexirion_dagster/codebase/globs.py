"""Git-style path patterns, matched in linear time."""

from collections.abc import Callable, Sequence
from typing import Any

import re2  # type: ignore[import-untyped]

from elexirion_dagster.errors import InputError


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Make a function that says whether a relative path (forward slashes) matches any of `patterns`.

    As in .gitignore: a pattern without a slash matches at any depth, a matched folder holds all that is below it,
    `**` crosses folders, `*` and `?` do not. `{a,b}` means either. Raises InputError for a pattern that is none.
    """
    if not patterns:
        return lambda _path: False
    compiled = [_compile(pattern) for pattern in patterns]
    return lambda path: any(regex.fullmatch(path) for regex in compiled)


def _compile(pattern: str) -> Any:
    body = pattern.strip("/")
    anchored = pattern.startswith("/") or "/" in body
    below = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    try:
        return re2.compile("(?s)" + ("" if anchored else "(?:.*/)?") + _translate(body) + below)
    except (re2.error, UnicodeEncodeError) as error:
        raise InputError(
            f"the pattern {pattern!r} cannot be read: {error}",
            mend="Write git-style patterns such as **/*.py, docs/ or src/**/test_?.js.",
        ) from error


def _translate(body: str) -> str:
    out, position, depth = [], 0, 0
    while position < len(body):
        step, piece = _piece(body, position, depth)
        depth += {"(?:": 1, ")": -1}.get(piece, 0)
        out.append(piece)
        position += step
    return "".join(out)


def _piece(body: str, at: int, depth: int) -> tuple[int, str]:
    """How many characters of `body` the next element takes, and the expression it stands for."""
    character, rest = body[at], body[at + 1 :]
    if body.startswith("**", at):
        whole_folders = rest[1:2] == "/" and (at == 0 or body[at - 1] == "/")
        return (3, "(?:.*/)?") if whole_folders else (2, ".*")
    if character == "[" and (end := body.find("]", at + 2)) != -1:
        return end - at + 1, _character_class(body[at + 1 : end])
    if character == "\\" and rest:
        return 2, re2.escape(rest[0])
    signs = {"*": "[^/]*", "?": "[^/]", "{": "(?:"} | ({",": "|", "}": ")"} if depth else {})
    return 1, signs.get(character) or re2.escape(character)


def _character_class(inner: str) -> str:
    escaped = inner.replace("\\", r"\\").replace("[", r"\[")
    return f"[^{escaped[1:]}]" if inner[0] in "!^" else f"[{escaped}]"
